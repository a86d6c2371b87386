"""Grounding: find the span that holds the evidence, from relevance over time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.search.curve import smooth

Curve = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Grounded:
    """The seconds `[start, stop)` around the peak of a relevance curve."""

    start_seconds: float
    stop_seconds: float
    peak_seconds: float


def ground(
    seconds: Curve,
    relevance: Curve,
    *,
    width_seconds: float = 0.5,
    level: float = 0.5,
    duration_seconds: float | None = None,
) -> Grounded:
    """Fit a span around the peak of a relevance curve.

    The span is where the smoothed curve stays above `level` of the way from its median to its peak,
    each frame standing for the time until the next one.

    >>> times = np.arange(8) / 2
    >>> ground(times, np.array([0, 0, 0, 1, 1, 0, 0, 0.0]), width_seconds=0)
    Grounded(start_seconds=1.5, stop_seconds=2.5, peak_seconds=1.5)
    """
    if len(seconds) != len(relevance) or not len(seconds):
        raise ValueError(f"expected two curves alike, got {len(seconds)} and {len(relevance)}")
    curve = smooth(seconds, relevance, width_seconds)
    peak = int(curve.argmax())
    floor = float(np.median(curve))
    # the margin is for rounding: a flat curve is one span
    high = curve >= floor + level * (curve[peak] - floor) - 1e-9
    return _span(seconds, high, peak, duration_seconds)


def hold(
    seconds: Curve,
    probability: Curve,
    *,
    peak: int | None = None,
    duration_seconds: float | None = None,
) -> Grounded:
    """Take the span around a peak in which it is likelier than not that a frame shows it.

    >>> hold(np.arange(4) / 2, np.array([0.1, 0.6, 0.9, 0.2]))
    Grounded(start_seconds=0.5, stop_seconds=1.5, peak_seconds=1.0)
    """
    peak = int(probability.argmax()) if peak is None else peak
    return _span(seconds, probability >= min(0.5, probability[peak]), peak, duration_seconds)


def overlap(predicted: tuple[float, float], truth: tuple[float, float]) -> tuple[float, float]:
    """Intersection over prediction and over the hull of both; never negative.

    A prediction of no length has IoP 1 inside the truth and IoU 0.
    """
    start, stop = predicted
    shared = min(stop, truth[1]) - max(start, truth[0])
    if stop == start:
        return (1.0 if truth[0] <= start <= truth[1] else 0.0), 0.0
    hull = max(stop, truth[1]) - min(start, truth[0])
    return max(shared / (stop - start), 0.0), max(shared / hull, 0.0)


def _span(
    seconds: Curve, high: NDArray[np.bool_], peak: int, duration_seconds: float | None
) -> Grounded:
    """Go from the peak both ways as long as the curve is high."""
    first = peak - int(np.argmin(np.append(high[peak::-1], False))) + 1
    last = peak + int(np.argmin(np.append(high[peak:], False))) - 1
    end = duration_seconds if duration_seconds is not None else _end(seconds)
    return Grounded(
        start_seconds=float(seconds[first]),
        stop_seconds=float(seconds[last + 1]) if last + 1 < len(seconds) else float(end),
        peak_seconds=float(seconds[peak]),
    )


def _end(seconds: Curve) -> float:
    """Until when the last frame is shown, if it lasts as long as the others."""
    step = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
    return float(seconds[-1]) + step
