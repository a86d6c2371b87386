"""What a random sample of frames says about the mean drift of all of them."""

import math
from collections.abc import Sequence
from functools import cache
from statistics import fmean, variance

import torch

from engine.errors import UsageError

LEAST = 5  # frames of a video that are embedded densely at a first look, however short it is
ENOUGH = 8  # of a video that is not long
SHORT = 0.07  # of the frames of a short one
GROWTH = 0.2  # of the frames of a long one to the power of two thirds
EARLY, LATE = 0.3, 0.2  # of the risk, for the two looks; the rest is left to what is done again


def check_confidence(confidence: float) -> None:
    """Refuse what is no confidence."""
    if not 0.5 < confidence < 1:
        raise UsageError(f"confidence must be between 0.5 and 1, got {confidence}")


def audit_size(num_frames: int) -> int:
    """Frames of a first look at a video: a fourteenth of a short one, ever less of longer ones.

    What more audits gain grows by their root and what they cost by their number, so that the best
    number grows by the power of two thirds of the frames. Few overlook a burst.
    """
    short = max(LEAST, min(ENOUGH, SHORT * num_frames))
    return min(num_frames, round(max(short, GROWTH * num_frames ** (2 / 3))))


def upper_mean(drifts: Sequence[float], risk: float, most: float = math.inf) -> float:
    """Bound the mean drift that `drifts` were sampled from, but for a chance of `risk`.

    Drifts are taken to spread as exponential ones, whose sum follows a gamma distribution of shape
    n, or wider, where they are seen to: a squared coefficient of variation c above 1 makes the
    shape n / c, that of a sum of gamma variables that spread as much. The sum is above the
    quantile `risk` of its distribution with probability 1 - risk, which bounds the mean exactly.
    The largest then counts once more, since a small sample tends to miss the tail. Drifts that
    spread less, as those drawn from equal parts of a stream do, are bounded with more than the
    confidence. It is the sharper the more are drawn: the mean is at most 2.3 times what
    6 of them show, 1.7 times for 12, 1.4 times for 24, at a risk of 5 %. Drifts of unequal weight
    are worth no more than `most` of equal weight.
    """
    n = len(drifts)
    if not n:
        return math.inf
    if n > 1 and variance(drifts) > fmean(drifts) ** 2:
        drifts, n = [*drifts, max(drifts)], n + 1
    mean = fmean(drifts)
    wide = variance(drifts, mean) / mean**2 if n > 1 and mean**2 > 0 else 1.0
    shape = math.floor(10 * min(n / max(1.0, wide), most)) / 10  # down: there are few of them
    return mean / room(max(shape, 0.1), risk)


@cache
def room(shape: float, risk: float) -> float:
    """Largest share of the bound that a sum of `shape` exponential drifts may show of it."""
    low, high = 0.0, shape  # the median lies below the mean
    a = torch.tensor(shape, dtype=torch.float64)
    for _ in range(40):
        x = (low + high) / 2
        left = float(torch.special.gammainc(a, torch.tensor(x, dtype=torch.float64)))
        low, high = (x, high) if left < risk else (low, x)
    return low / shape
