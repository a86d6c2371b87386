"""Average precision against a slow definition, and its interval."""

import numpy as np
import pytest

from engine.evaluation.detection import Boxes, interval, judge, mean_precision, overlaps

Frame = tuple[int, Boxes, Boxes]


def drawn(seed: int, frames: int = 40) -> list[Frame]:
    """Boxes that are there, some of them found askew, some called otherwise, some made up."""
    rng, made = np.random.default_rng(seed), []

    def boxes(count: int) -> np.ndarray:
        low = rng.uniform(0, 0.7, (count, 2))
        return np.concatenate([low, low + rng.uniform(0.1, 0.3, (count, 2))], 1)

    for frame in range(frames):
        count = int(rng.integers(0, 5))
        there = Boxes(
            tuple(rng.choice(["a", "b", "c"], count).tolist()),
            boxes(count),
            (rng.random(count) > 0.2).astype(float),
        )
        again = rng.integers(0, count, 2 * count) if count else np.empty(0, int)
        extra = int(rng.integers(0, 3))
        labels = [there.labels[at] if rng.random() < 0.8 else "b" for at in again]
        found = Boxes(
            (*labels, *rng.choice(["a", "b", "c"], extra).tolist()),
            np.concatenate(
                [there.sides[again] + rng.normal(0, 0.03, (len(again), 4)), boxes(extra)]
            ),
            rng.random(len(again) + extra),
        )
        made.append((frame // 4, found, there))
    return made


def slowly(frames: list[Frame], times: dict[int, int]) -> float:
    """The definition: for each label a threshold at each score, and the best precision from there.

    Clips count as many times as said.
    """
    areas = []
    for label in sorted({name for _, _, there in frames for name in there.labels}):
        total = sum(
            times[clip]
            for clip, _, there in frames
            for name, weight in zip(there.labels, there.weigh, strict=True)
            if name == label and weight
        )
        told: list[tuple[float, bool, int]] = []
        for clip, found, there in frames:
            free = [at for at, name in enumerate(there.labels) if name == label]
            own = [at for at, name in enumerate(found.labels) if name == label]
            for at in sorted(own, key=lambda at: -found.weigh[at]):
                fits = {
                    other: share
                    for other in free
                    if (share := shared(found.sides[at], there.sides[other])) >= 0.5
                }
                best = max(fits, key=lambda other: fits[other], default=None)
                if best is not None and not there.weigh[best]:
                    continue
                if best is not None:
                    free.remove(best)
                told.append((float(found.weigh[at]), best is not None, times[clip]))
        if not total:
            continue
        told.sort(key=lambda item: -item[0])
        points = []
        for cut in range(1, len(told) + 1):
            right = sum(weight for _, good, weight in told[:cut] if good)
            points.append((right / total, right / max(1, sum(t[2] for t in told[:cut]))))
        area, before = 0.0, 0.0
        for recall, _ in points:
            area += (recall - before) * max(p for r, p in points if r >= recall)
            before = recall
        areas.append(area)
    return sum(areas) / len(areas)


def shared(one: np.ndarray, other: np.ndarray) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    tall = min(one[3], other[3]) - max(one[1], other[1])
    both = wide * tall if wide > 0 and tall > 0 else 0.0
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)]
    return float(both / (sum(areas) - both))


@pytest.mark.parametrize("seed", range(4))
def test_it_is_its_definition(seed: int) -> None:
    frames = drawn(seed)
    judged = judge(frames)
    once = dict.fromkeys(range(10), 1)
    assert mean_precision(judged) == pytest.approx(slowly(frames, once))
    times = np.random.default_rng(seed).integers(0, 4, 10)
    weighed = slowly(frames, dict(enumerate(times.tolist())))
    assert mean_precision(judged, times) == pytest.approx(weighed)
    assert 0.1 < mean_precision(judged) < 0.9


def test_what_is_right_is_1_and_what_hardly_shows_counts_for_nothing() -> None:
    sides = np.array([[0.1, 0.1, 0.3, 0.3], [0.5, 0.5, 0.9, 0.9]])
    there = Boxes(("a", "a"), sides, np.array([1.0, 0.0]))
    both = Boxes(("a", "a"), sides, np.array([0.4, 0.9]))
    assert mean_precision(judge([(0, both, there)])) == 1
    none = Boxes((), np.empty((0, 4)), np.empty(0))
    assert mean_precision(judge([(0, none, there)])) == 0
    assert mean_precision(judge([(0, both, none)])) == 0
    assert overlaps(sides, sides).tolist() == [[1, 0], [0, 1]]


def test_an_interval_lies_around_and_narrows_with_clips() -> None:
    few, many = (judge(drawn(1, frames)) for frames in (40, 400))
    wide, narrow = interval(few, 10, 0), interval(many, 100, 0)
    assert wide[0] < mean_precision(few) < wide[1]
    assert narrow[1] - narrow[0] < wide[1] - wide[0]
    assert interval(few, 10, 0, beside=few) == (1, 1)
