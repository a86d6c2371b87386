"""Which frames of a video belong to a moment, from what they score."""

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.peaks import stands_out

AVERAGE = 0.1  # of the text over the store


def shown(scores: NDArray[np.float64]) -> list[int]:
    """The frames that belong to a moment, at two frames a second."""
    return np.flatnonzero(stands_out(np.arange(len(scores)) / 2, scores, AVERAGE)).tolist()


def curve(*parts: tuple[int, float]) -> NDArray[np.float64]:
    """Levels for so many frames each, with a little noise."""
    levels = np.concatenate([np.full(count, level) for count, level in parts])
    return levels + np.random.default_rng(0).normal(0, 0.003, len(levels))


@pytest.mark.parametrize("low", [0.1, 0.3], ids=["elsewhere nothing", "elsewhere alike"])
def test_what_begins_and_ends_is_one_moment(low: float) -> None:
    assert shown(curve((20, low), (8, 0.5), (20, low))) == list(range(20, 28))


def test_what_is_shown_for_a_moment_is_short() -> None:
    assert shown(curve((30, 0.2), (2, 0.4), (30, 0.2))) == [30, 31]


def test_what_holds_all_the_time_does_not_fall_apart() -> None:
    assert shown(curve((40, 0.5))) == list(range(40))
    slowly = 0.5 + 0.08 * np.sin(np.arange(40) / 6)
    assert shown(slowly) == list(range(40))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_frames(count: int) -> None:
    assert shown(np.full(count, 0.4)) == list(range(count))
