"""What a random sample of frames says about the mean drift of all of them."""

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev

from engine.errors import UsageError

LEAST = 6  # audited frames below which nothing is concluded but from a first look
EARLY = 0.2  # of the risk, spent on the first look; the rest is the full audit's


def audit_size(num_frames: int, confidence: float) -> int:
    """Frames to audit of `num_frames`: a fifth, at most what makes the margin about half the mean.

    Drifts spread about as much as their mean; a margin of z / sqrt(n) of it is 0.42 at the cap:
    16 frames at 95 % confidence, 31 at 99 %.
    """
    if not 0.5 < confidence < 1:
        raise UsageError(f"confidence must be between 0.5 and 1, got {confidence}")
    cap = math.ceil((NormalDist().inv_cdf(confidence) / 0.42) ** 2)
    return min(num_frames, max(LEAST, min(cap, num_frames // 5)))


def look_size(num_frames: int) -> int:
    """Frames of a first look: a tenth, four at least and ten at most."""
    return min(num_frames, max(4, min(10, num_frames // 10)))


def upper_mean(drifts: Sequence[float], confidence: float) -> float:
    """One-sided upper confidence bound of the mean drift that `drifts` were sampled from.

    Student's bound with the largest drift (or three times the mean) counted once more: drifts lean
    far to the right, and a small sample tends to miss the tail. Coverage is checked by simulation.
    """
    if len(drifts) < 2:
        return math.inf
    padded = [*drifts, max(max(drifts), 3 * fmean(drifts))]
    n = len(padded)
    return fmean(padded) + student(confidence, n - 1) * stdev(padded) / math.sqrt(n)


def upper_early(drifts: Sequence[float], confidence: float) -> float:
    """Bound the mean from a few drifts, taking them to spread as exponential ones at the most.

    That a sum of n exponential drifts lies below its quantile bounds their mean exactly; drifts
    that spread less are bounded with more than the confidence.
    """
    n = len(drifts)
    return sum(drifts) / _erlang(n, 1 - confidence) if n > 1 else math.inf


def _erlang(n: int, share: float) -> float:
    """Below which sum `share` of the sums of n exponential numbers of mean 1 lie."""
    low, high = 0.0, float(n)  # the median lies below n
    for _ in range(60):
        x = (low + high) / 2
        term = left = math.exp(-x)
        for k in range(1, n):
            term *= x / k
            left += term
        low, high = (x, high) if 1 - left < share else (low, x)
    return low


def student(confidence: float, freedom: int) -> float:
    """Quantile of Student's t (Cornish and Fisher's expansion, good to 1 % from 5 degrees up)."""
    z = NormalDist().inv_cdf(confidence)
    first = (z**3 + z) / (4 * freedom)
    return z + first + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
