"""What a random sample of frames says about the mean drift of all of them."""

import math
from collections.abc import Sequence
from functools import cache
from statistics import fmean, variance

import torch

from engine.errors import UsageError

RATE = 0.05  # of a video's frames, embedded densely at a first look
LEAST = 7  # of a video, however short
ENOUGH = 12  # of a video whose twentieth is less
MOST = 24  # of a stream, however long
POWER = 0.4  # of a stretch's share of its video: how fast its own risk grows as that shrinks
SMALLEST = 0.2  # share whose risk stretches of any smaller one have
EARLY = 0.6  # of the risk, spent on the first look; the rest is the second's, of twice as many


def check_confidence(confidence: float) -> None:
    """Refuse what is no confidence."""
    if not 0.5 < confidence < 1:
        raise UsageError(f"confidence must be between 0.5 and 1, got {confidence}")


def audit_size(num_frames: int, share: float = 1.0) -> int:
    """Frames of a first look at `num_frames`, which are `share` of a video's: a twentieth of it.

    A short video has a tenth, up to `ENOUGH`: fewer overlook a burst.
    """
    video = num_frames / share if share else math.inf
    whole = max(LEAST, min(ENOUGH, video / 10))
    return min(num_frames, MOST, max(2, round(max(whole * share, RATE * num_frames))))


def stretch_risk(confidence: float, share: float) -> float:
    """Risk that a stretch of `share` of a video's frames may take, the promise being the video's.

    Stretches err on both sides, so their mean is kept more often than each of them. Were each
    tested once, the video's risk to the power of the share would do: that all pass has the product
    of their risks as its probability. But what fails is mended and tested again, so that the risk
    grows by a smaller power, found by simulation, and no more below a fifth of a video.
    """
    return float((1 - confidence) ** max(share, SMALLEST) ** POWER)


def upper_mean(drifts: Sequence[float], risk: float) -> float:
    """Bound the mean drift that `drifts` were sampled from, but for a chance of `risk`.

    Drifts are taken to spread as exponential ones, whose sum follows a gamma distribution of shape
    n, or wider, where they are seen to: a squared coefficient of variation c above 1 makes the
    shape n / c, that of a sum of gamma variables that spread as much. The sum is above the
    quantile `risk` of its distribution with probability 1 - risk, which bounds the mean exactly.
    The largest then counts once more, since a small sample tends to miss the tail. Drifts that
    spread less, as those drawn from equal parts of a stream do, are bounded with more than the
    confidence. It is the sharper the more are drawn: the mean is at most 2.3 times what
    6 of them show, 1.7 times for 12, 1.4 times for 24, at a risk of 5 %.
    """
    n = len(drifts)
    if not n:
        return math.inf
    if n > 1 and variance(drifts) > fmean(drifts) ** 2:
        drifts, n = [*drifts, max(drifts)], n + 1
    mean = fmean(drifts)
    wide = variance(drifts, mean) / mean**2 if n > 1 and mean > 0 else 1.0
    shape = math.floor(10 * n / max(1.0, wide)) / 10  # down: there are few of them
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
