"""Recall and precision hold at the stated confidence, whatever the score is worth.

`python -m tests.search.test_guarantee RUNS [WORLD …]` simulates more than the suite has time for.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
import pytest

from engine.errors import LimitError, UsageError
from engine.search.guarantee import Filtered, Flags, Rows, Scores, Targets, guaranteed_filter
from engine.search.proxy import Vectors

Draw = Callable[[np.random.Generator], tuple[Scores, Flags, Vectors | None]]
RUNS = 25  # of each world, in the suite


@dataclass(slots=True)
class Tally:
    """What runs on one world have come to."""

    runs: int = 0
    failed: int = 0
    calls: float = 0.0  # share of the rows, all runs together
    fixed: int = 0  # runs in which the threshold of a labelled sample misses the targets


def drawn(count: int, rate: float, apart: float, hidden: float = 0.0) -> Draw:
    """A world: so many rows, of which some are true; the score of these is so much higher.

    Some of them are `hidden` among the worst.
    """

    def draw(rng: np.random.Generator) -> tuple[Scores, Flags, None]:
        true = rng.random(count) < rate
        scores = rng.normal(size=count) + apart * true
        low = true & (rng.random(count) < hidden)
        scores[low] = rng.normal(size=int(low.sum())) - 1.0
        return scores, true, None

    return draw


def seen(count: int, rate: float, apart: float, told: float, width: int = 64) -> Draw:
    """A world of vectors: true rows lie apart in a direction that the score tells in part.

    `told` is the cosine between that direction and the text's.
    """

    def draw(rng: np.random.Generator) -> tuple[Scores, Flags, Vectors]:
        true = rng.random(count) < rate
        way, other = np.linalg.qr(rng.normal(size=(width, 2)))[0].T
        vectors = rng.normal(size=(count, width)) + np.outer(true * apart, way)
        scores = vectors @ (told * way + sqrt(1 - told**2) * other)
        return scores, true, vectors.astype(np.float32)

    return draw


WORLDS: dict[str, Draw] = {
    "informative": drawn(30_000, 0.1, 4.0),
    "half of the rows": drawn(8_000, 0.5, 3.0),
    "less informative": drawn(10_000, 0.2, 2.5),
    "some hidden": drawn(10_000, 0.2, 4.0, hidden=0.05),
    "many hidden": drawn(6_000, 0.1, 4.0, hidden=0.2),
    "worth nothing": drawn(4_000, 0.1, 0.0),
    "turned round": drawn(4_000, 0.3, -3.0),
    "rare": drawn(5_000, 0.004, 4.0),
    "none": drawn(3_000, 0.0, 1.0),
    "all": drawn(3_000, 1.0, 1.0),
    "few rows": drawn(300, 0.2, 3.0),
    "vectors tell more": seen(10_000, 0.2, 4.5, 0.6),
    "vectors tell all": seen(10_000, 0.2, 5.0, 0.0),
    "vectors tell nothing": seen(2_000, 0.2, 0.0, 0.5),
    "vectors of the rare": seen(6_000, 0.01, 5.0, 0.6),
}
FEW = {"informative": 10, **{name: 4 for name in WORLDS if name.startswith("vectors")}}
LEARNT = ("vectors tell more", "vectors tell all")  # where a fifth of the calls is enough


def holds(passes: Flags, true: Flags, targets: Targets) -> bool:
    """Whether both targets are met, by counting."""
    right = int((passes & true).sum())
    recall = right / true.sum() if true.any() else 1.0
    precision = right / passes.sum() if passes.any() else 1.0
    return bool(recall >= targets.recall and precision >= targets.precision)


def run(draw: Draw, seed: int, targets: Targets) -> tuple[Filtered, Scores, Flags]:
    scores, true, vectors = draw(np.random.default_rng([1, seed]))
    times = np.zeros(len(true), int)

    def oracle(rows: Rows) -> Flags:
        times[rows] += 1
        return true[rows]

    rng = np.random.default_rng([2, seed])
    found = guaranteed_filter(scores, oracle, targets, rng, vectors=vectors)
    assert times.max() <= 1  # nothing is asked twice
    assert found.calls == times.sum()
    assert found.taken + found.left_out + found.calls == len(true)
    assert (found.passes[times == 1] == true[times == 1]).all()
    return found, scores, true


def by_threshold(scores: Scores, true: Flags, calls: int, seed: int, targets: Targets) -> bool:
    """Whether the targets hold for the best threshold of a labelled sample of as many rows."""
    sample = np.random.default_rng([3, seed]).permutation(len(true))[:calls]
    cuts = np.sort(scores[sample][true[sample]])
    if not len(cuts):
        return holds(np.zeros(len(true), bool), true, targets)
    cut = cuts[int((1 - targets.recall) * len(cuts))]
    return holds(scores >= cut, true, targets)


def simulate(draw: Draw, runs: int, targets: Targets) -> Tally:
    tally = Tally()
    for seed in range(runs):
        found, scores, true = run(draw, seed, targets)
        tally.runs += 1
        tally.failed += not holds(found.passes, true, targets)
        tally.fixed += not by_threshold(scores, true, found.calls, seed, targets)
        tally.calls += found.calls / len(true)
        assert found.recall >= targets.recall
        assert found.precision >= targets.precision
    return tally


def most_failures(runs: int, targets: Targets) -> float:
    """So many runs may fail: three standard deviations above what is stated."""
    share = 1 - targets.confidence
    return runs * share + 3 * sqrt(runs * share * (1 - share))


@pytest.mark.parametrize("world", WORLDS)
def test_targets_hold(world: str) -> None:
    targets = Targets()
    tally = simulate(WORLDS[world], FEW.get(world, RUNS), targets)
    assert tally.failed <= most_failures(tally.runs, targets)
    if world == "informative" or world in LEARNT:
        assert tally.calls / tally.runs <= 0.2


def test_harder_targets_cost_more_and_hold() -> None:
    draw = drawn(10_000, 0.2, 4.0)
    costs = []
    for targets in (Targets(0.8, 0.7, 0.8), Targets(), Targets(0.99, 0.99, 0.99)):
        tally = simulate(draw, 5, targets)
        assert tally.failed <= most_failures(5, targets)
        costs.append(tally.calls)
    assert costs == sorted(costs)
    whole, _, true = run(draw, 0, Targets(1.0, 1.0, 0.95))
    assert (whole.passes == true).all()


def test_a_fixed_threshold_promises_nothing() -> None:
    tally = simulate(drawn(6_000, 0.2, 2.0), 10, Targets())
    assert (tally.failed, tally.fixed) == (0, 10)


def test_too_few_calls_fail_aloud() -> None:
    scores, true, _ = drawn(5_000, 0.1, 0.0)(np.random.default_rng(0))
    with pytest.raises(LimitError, match="the targets need more than 1,000 calls"):
        guaranteed_filter(
            scores, lambda rows: true[rows], Targets(), np.random.default_rng(0), max_calls=1000
        )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"recall": 0.0}, "recall is 0; allowed: above 0, up to 1"),
        ({"precision": 1.5}, "precision is 1.5"),
        ({"confidence": 1.0}, "confidence is 1; allowed: above 0, below 1"),
    ],
)
def test_targets_are_checked(given: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Targets(**given)


if __name__ == "__main__":
    for name, world_drawn in WORLDS.items():
        if sys.argv[2:] and name not in sys.argv[2:]:
            continue
        told = simulate(world_drawn, int(sys.argv[1]), Targets())
        allowed = most_failures(told.runs, Targets())
        print(  # noqa: T201
            f"{name}: {told.failed} of {told.runs} fail (allowed {allowed:.0f}),"
            f" {told.calls / told.runs:.3f} of the rows asked, a threshold fails {told.fixed}"
        )
