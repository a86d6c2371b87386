"""What is learnt from vectors is compared with the score by answers that were left out."""

from typing import Any

import numpy as np

from engine.search.proxy import _kernel, rank, spread


def test_an_answer_left_out_is_foretold_as_if_it_had_not_been_seen() -> None:
    """By the definition: a kernel regression fitted anew without each answer."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(90, 7)).astype(np.float32)
    inputs /= np.linalg.norm(inputs, axis=1, keepdims=True)
    own, known = rng.normal(size=90), np.arange(90) < 60
    answers = (inputs[:, 0] + 0.3 * rng.normal(size=90) > 0)[known]
    told, unseen = _kernel(inputs, own, known, answers)
    exact, target = inputs.astype(float), np.where(answers, 1.0, -1.0)
    centred = exact - exact[:60].mean(0)
    flat, level = centred @ centred.T + 0.1 * np.outer(own, own), target.mean()
    fits = []
    for near in (0.0, 3.0, 10.0, 30.0):
        for strength in (0.01, 0.05, 0.3, 2.0, 12.0):
            kernel = np.exp(near * (exact @ exact.T - 1)) + flat

            def foretell(
                rows: list[int], at: Any, kernel: np.ndarray = kernel, ridge: float = strength
            ) -> np.ndarray:
                held = kernel[np.ix_(rows, rows)] + ridge * np.eye(len(rows))
                weights = np.linalg.solve(held, target[rows] - level)
                return np.asarray(kernel[np.ix_(at, rows)] @ weights + level)

            without = [
                float(foretell([row for row in range(60) if row != left], [left])[0])
                for left in range(60)
            ]
            error = float(((np.array(without) - target) ** 2).mean())
            fits.append((error, without, foretell(list(range(60)), range(90))))
    _, without, whole = min(fits, key=lambda fit: fit[0])
    np.testing.assert_allclose(unseen.values, without, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(told.values, whole, rtol=2e-3, atol=2e-3)
    cosines = exact @ exact[:60].T
    np.testing.assert_allclose(told.nearest, cosines.max(1), atol=1e-5)
    np.fill_diagonal(cosines, -1)
    np.testing.assert_allclose(unseen.nearest, cosines[:60].max(1), atol=1e-5)


def test_what_is_spread_covers_a_pool() -> None:
    """Each is as far as can be from those before: one of each bundle comes before any second."""
    rng = np.random.default_rng(2)
    middles = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    vectors = np.repeat(middles, 5, 0) + 0.01 * rng.normal(size=(60, 12))
    known = np.zeros(60, bool)
    known[:5] = True  # all of the first bundle
    picked = spread(np.arange(5, 60), vectors.astype(np.float32), known, 11)
    assert sorted(row // 5 for row in picked) == list(range(1, 12))
    assert len(spread(np.arange(5, 8), vectors.astype(np.float32), known, 11)) == 3


def test_vectors_are_taken_only_where_they_tell_more() -> None:
    rng = np.random.default_rng(1)
    true = rng.random(4000) < 0.3
    known = np.arange(4000) < 400
    blind = rng.normal(size=(4000, 16)).astype(np.float32)
    seeing = blind.copy()
    seeing[:, 3] += 4 * true
    score = rng.normal(size=4000) + 2.0 * true
    assert not rank(score, None, known, true).learnt
    assert not rank(score, blind, known, true).learnt
    found = rank(score, seeing, known, true)
    assert found.learnt
    assert (found.chances[~known & true].mean() - found.chances[~known & ~true].mean()) > 0.5
    wrong = (found.chances[~known] > 0.5) != true[~known]
    assert wrong.mean() < 0.05
    few = known & (~true | (np.cumsum(true & known) <= 5))
    assert not rank(score, seeing, few, true).learnt
