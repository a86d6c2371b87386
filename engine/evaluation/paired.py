"""What a strategy loses against dense on the very same items, with the error of that figure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NORMAL_95 = 1.959964


@dataclass(frozen=True, slots=True)
class Paired:
    """One score against dense's; both in percent of the items."""

    score: float
    dense: float
    error: float  # standard error of score - dense, in points
    loss: float  # 1 - score / dense; below 0 is a gain
    low: float  # of the loss, 95 % confidence
    high: float
    items: int


def compare_paired(
    hits: NDArray[np.generic], dense: NDArray[np.generic], groups: Sequence[str]
) -> Paired:
    """Compare two strategies on the same items.

    Items of one group, the questions on one video, are not independent: errors are taken over
    groups. The loss is a ratio of two sums, its error that of the sums' linear combination.

    Args:
        hits: items that the strategy gets right, or how far it gets each, from 0 to 1.
        dense: items that dense gets right.
        groups: the video of each item.
    """
    _, places = np.unique(np.asarray(groups), return_inverse=True)
    ours, theirs = (np.bincount(places, weights=each) for each in (hits, dense))
    sizes = np.bincount(places)
    count, right = len(hits), theirs.sum()
    difference = (ours.sum() - right) / count
    ratio = ours.sum() / right if right else 1.0
    error = np.sqrt((((ours - theirs) - difference * sizes) ** 2).sum()) / count
    spread = np.sqrt(((ours - ratio * theirs) ** 2).sum()) / max(right, 1)
    return Paired(
        score=100 * float(ours.sum()) / count,
        dense=100 * float(right) / count,
        error=100 * float(error),
        loss=1 - float(ratio),
        low=float(1 - ratio - NORMAL_95 * spread),
        high=float(1 - ratio + NORMAL_95 * spread),
        items=count,
    )


def ratio_error(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Standard error of the sum of ours over the sum of theirs, both by group: video or turn."""
    own, other = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    ratio = own.sum() / other.sum()
    return float(np.sqrt(((own - ratio * other) ** 2).sum()) / other.sum())
