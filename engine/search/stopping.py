"""The stopping rule of refinement: which approximate rows could still change the answer."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def kth_best(scores: Floats, k: int) -> float:
    """Return the k-th largest score, minus infinity where there are fewer."""
    if len(scores) < k:
        return -np.inf
    return float(np.partition(scores, len(scores) - k)[len(scores) - k])


def may_enter(scores: Floats, bounds: Floats, exact: Flags, k: int) -> Flags:
    """Return the approximate rows that could still be among the `k` best.

    An exact row's score is final. An approximate row's lies at most its error bound above what is
    stored, so it may enter if that reaches the k-th best exact score (or if there are not `k`).
    """
    threshold = kth_best(scores[exact], k)
    return np.asarray(~exact & (scores + bounds >= threshold))


def may_cross(scores: Floats, bounds: Floats, exact: Flags, cutoff: float) -> Flags:
    """Return the approximate rows whose exact score may lie on the other side of `cutoff`."""
    return np.asarray(~exact & (np.abs(scores - cutoff) <= bounds))
