"""What is learnt from vectors is compared with the score by answers that were left out."""

import numpy as np

from engine.search.proxy import _ridge, rank


def test_an_answer_left_out_is_foretold_as_if_it_had_not_been_seen() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(60, 7))
    answers = inputs[:, 0] + rng.normal(size=60) > 0.3
    values, unseen = _ridge(inputs, np.ones(60, bool), answers)
    sizes = np.linalg.svd(inputs - inputs.mean(0))[1]
    target = np.where(answers, 1.0, -1.0)
    fits = []
    for strength in np.geomspace(1e-3, 1e2, 11) * sizes[0] ** 2 / 60:

        def fitted(rows: np.ndarray, strength: float = strength) -> tuple[np.ndarray, float]:
            """Solve the normal equations with a level that is not held back."""
            bordered = np.column_stack([inputs, np.ones(60)])[rows]
            held = np.diag([strength] * 7 + [0.0])
            found = np.linalg.solve(bordered.T @ bordered + held, bordered.T @ target[rows])
            return found[:7], float(found[7])

        without = [fitted(np.arange(60) != row) for row in range(60)]
        foretold = [float(inputs[row] @ way + level) for row, (way, level) in enumerate(without)]
        way, level = fitted(np.arange(60))
        fits.append((float(((np.array(foretold) - target) ** 2).mean()), foretold,
                     inputs @ way + level))  # fmt: skip
    _, foretold, whole = min(fits, key=lambda fit: fit[0])
    np.testing.assert_allclose(unseen, foretold, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(values, whole, rtol=1e-8, atol=1e-9)


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
    assert (found.values[~known & true].mean() - found.values[~known & ~true].mean()) > 1
    wrong = (found.chances[~known] > 0.5) != true[~known]
    assert wrong.mean() < 0.05
    few = known & (~true | (np.cumsum(true & known) <= 5))
    assert not rank(score, seeing, few, true).learnt
