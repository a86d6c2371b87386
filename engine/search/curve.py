"""A video's scores over time, how far each may be off, and what of it belongs to a moment."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.search.moments import Span, find_spans

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_LEVEL = 0.6  # of the way from a floor to the video's peak; what lies above belongs to a moment
_SMOOTH_SECONDS = 0.2
_STEP_FRAMES = 2  # on each side of a step
_FEW = 4  # rows that may be the floor, made exact before looking again
_REACH = 8.0  # standard deviations beyond which nothing weighs
_EVEN = 1e-11  # seconds by which frame times may miss even ones: rounding alone
_CLEAR, _LARGE = 8.0, 0.1  # times the usual change between frames; share of peak over average


@dataclass(frozen=True, slots=True)
class Curve:
    """The scores of a video's frames in the order of their times.

    An exact score lies at most its error bound from the stored one; 0 where it is exact.
    """

    ids: NDArray[np.int64]
    seconds: Floats
    scores: Floats
    bounds: Floats
    until: Floats | None = None  # times that frames stand for all until, where some do

    @property
    def low(self) -> Floats:
        """The lowest that each score may be."""
        return self.scores - self.bounds

    @property
    def high(self) -> Floats:
        """The highest that each score may be."""
        return self.scores + self.bounds

    @property
    def uncertain(self) -> Flags:
        """Whether each score may be another than the stored one."""
        return np.asarray(self.bounds > 0)


@dataclass(frozen=True, slots=True)
class MomentRule:
    """The score from which a frame is a hit, and the largest gap between hits of one moment.

    A hit scores `min_score`; without one it stands out against the `average` over the store.
    """

    gap_seconds: float
    min_score: float | None
    average: float

    def spans(self, curve: Curve) -> list[Span]:
        """Return the moments of a curve as it is stored."""
        even, level = self._level(curve, curve.scores)
        return self._find(curve, curve.scores, even >= level)

    def undecided_rows(self, curve: Curve, bar: float) -> Flags:
        """Tell which rows could still change the moments that reach `bar`.

        They are those that may be the highest of a moment, and those that may or may not belong to
        one: what surely does, and what surely does not, needs no exact score. Where that leaves
        frames that hang on the level alone, it is those that may be the floor of the level.
        """
        undecided = self._undecided_frames(curve, bar)
        found = self._undecided_peaks(curve, bar) | (curve.uncertain & undecided)
        return found if found.any() or not undecided.any() else self._undecided_floor(curve)

    def _undecided_peaks(self, curve: Curve, bar: float) -> Flags:
        found = np.zeros(len(curve.ids), bool)
        for span in self.spans(curve):
            inside = _covered(curve, [span])
            found |= inside & (curve.high >= curve.low[inside].max(initial=bar))
        return found & curve.uncertain

    def _undecided_frames(self, curve: Curve, bar: float) -> Flags:
        """Whether each frame may belong to a moment, and lies outside every certain one."""
        low, high = curve.low, curve.high
        (lowest, below), (_, level), (highest, above) = (
            self._level(curve, scores) for scores in (low, curve.scores, high)
        )
        maybe = highest >= min(below, level, above)
        surely = lowest >= max(below, level, above)
        possible = self._find(curve, high, maybe)
        sure = self._find(curve, low, surely)
        reaching = _covered(curve, [span for span in possible if span.score >= bar])
        return np.asarray(maybe & reaching & ~_covered(curve, sure))

    def _find(self, curve: Curve, scores: Floats, hits: Flags) -> list[Span]:
        return find_spans(curve.seconds, scores, hits, self.gap_seconds, curve.until)

    def _undecided_floor(self, curve: Curve) -> Flags:
        found = np.zeros(len(curve.ids), bool)
        if has_step(curve.seconds, curve.scores, self.average):
            at = np.flatnonzero(curve.uncertain & (curve.low <= curve.high.min()))
            found[at[np.argsort(curve.low[at], kind="stable")[:_FEW]]] = True
        return found

    def _level(self, curve: Curve, scores: Floats) -> tuple[Floats, float]:
        if self.min_score is not None:
            return scores, self.min_score
        return level_of(curve.seconds, scores, self.average)


def level_of(seconds: Floats, scores: Floats, average: float) -> tuple[Floats, float]:
    """Return a video's scores, smoothed over time, and the score from which frames are hits.

    Where something begins or ends the scores have a step, and the floor of the level is the lowest
    score of the video. Without one its frames are alike, and the floor is the `average` of the text
    over the store: what holds all the time must not fall apart where it scores a little less.
    """
    even = smooth(seconds, scores, _SMOOTH_SECONDS)
    usual = min(float(np.median(even)), average)
    floor = float(even.min()) if _has_step(even, scores, usual) else usual
    # the margin is for rounding: a flat curve is one moment
    return even, floor + _LEVEL * (float(even.max()) - floor) - 1e-9


def smooth(seconds: Floats, values: Floats, width_seconds: float) -> Floats:
    """Average values over time with a Gaussian of a standard deviation in seconds.

    Each value is weighted by the time it stands for, so uneven frame times do not bend the curve.
    """
    if width_seconds <= 0 or len(values) < 2:
        return values
    even = seconds[0] + np.arange(len(seconds)) * ((seconds[-1] - seconds[0]) / (len(seconds) - 1))
    if even[1] > even[0] and np.abs(seconds - even).max() <= _EVEN:
        return _smooth_even(float(even[1] - even[0]), values, width_seconds)
    shown, reach = np.gradient(seconds), _REACH * width_seconds
    lasting = values * shown
    total, weight = lasting.copy(), shown.copy()
    for step in range(1, len(values)):  # all pairs of frames that far apart at once
        apart = seconds[step:] - seconds[:-step]
        if apart.min() > reach:
            break
        kernel = np.exp(-0.5 * (apart / width_seconds) ** 2)
        for here, there in ((slice(step, None), slice(-step)), (slice(-step), slice(step, None))):
            weight[here] += kernel * shown[there]
            total[here] += kernel * lasting[there]
    averaged: Floats = total / weight
    return averaged


def _smooth_even(step: float, values: Floats, width_seconds: float) -> Floats:
    """Average values whose times lie a `step` apart: one kernel serves for all of them."""
    num = min(len(values) - 1, int(_REACH * width_seconds / step))
    kernel = np.exp(-0.5 * (np.arange(-num, num + 1) * (step / width_seconds)) ** 2)
    own = slice(num, num + len(values))
    averaged: Floats = (
        np.convolve(values, kernel)[own] / np.convolve(np.ones(len(values)), kernel)[own]
    )
    return averaged


def has_step(seconds: Floats, scores: Floats, average: float) -> bool:
    """Whether something begins or ends: the scores before and after an instant are far apart."""
    even = smooth(seconds, scores, _SMOOTH_SECONDS)
    return _has_step(even, scores, min(float(np.median(even)), average))


def _has_step(even: Floats, scores: Floats, usual: float) -> bool:
    step = _largest_step(scores)
    change = float(np.median(np.abs(np.diff(scores)))) if len(scores) > 1 else 0.0
    return step > _CLEAR * change and step > _LARGE * (float(even.max()) - usual)


def _largest_step(scores: Floats) -> float:
    """The largest difference between the means of the frames before and after an instant."""
    if len(scores) < 2:
        return 0.0
    total, at = np.append(0.0, np.cumsum(scores)), np.arange(1, len(scores))
    start, stop = np.maximum(at - _STEP_FRAMES, 0), np.minimum(at + _STEP_FRAMES, len(scores))
    before = (total[at] - total[start]) / (at - start)
    after = (total[stop] - total[at]) / (stop - at)
    return float(np.abs(after - before).max())


def _covered(curve: Curve, spans: list[Span]) -> Flags:
    """Whether each frame lies inside one of the spans."""
    found = np.zeros(len(curve.ids), bool)
    for span in spans:
        found |= (curve.seconds >= span.start_seconds) & (curve.seconds < span.stop_seconds)
    return found
