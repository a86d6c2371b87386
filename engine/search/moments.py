"""A curve of scores over a video's frames, and the spans in which it is high."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Span:
    """A run of hits `[start_seconds, stop_seconds)` with its highest frame."""

    start_seconds: float
    stop_seconds: float
    peak_seconds: float
    score: float
    peak: int  # position of the highest frame in the curve
    parts: tuple["Span", ...] = field(default=(), compare=False)  # of a sequence: each step's


@dataclass(frozen=True, slots=True)
class Together:
    """What one frame must show: all of the parts, one of them, or not the one."""

    kind: Literal["and", "or", "not"]
    parts: tuple["Shown", ...]

    def __str__(self) -> str:
        said = [f"({part})" if isinstance(part, Together) else repr(part) for part in self.parts]
        return f"not {said[0]}" if self.kind == "not" else f" {self.kind} ".join(said)


Shown: TypeAlias = "str | Together"


@dataclass(frozen=True, slots=True)
class Step:
    """What is shown in one part of a sequence: how long, and how far apart its hits may lie."""

    text: Shown
    hold_seconds: float = 0.0
    gap_seconds: float | None = None
    within_seconds: float | None = None  # of the end of the step before


def frame_stops(seconds: Floats, until: Floats | None = None) -> Floats:
    """When each frame stops being shown: at the next one; the last lasts a median step.

    After two such steps nothing is known, unless a frame stands for all `until` a time.
    """
    if len(seconds) == 0:
        return seconds
    steps = np.diff(seconds)
    typical = float(np.median(steps)) if len(steps) else 1.0
    stops = np.append(seconds[:-1] + np.minimum(steps, 2 * typical), seconds[-1] + typical)
    if until is None:
        return stops
    return np.minimum(np.maximum(stops, until), np.append(seconds[1:], np.inf))


def find_spans(
    seconds: Floats,
    scores: Floats,
    is_hit: NDArray[np.bool_],
    gap_seconds: float,
    until: Floats | None = None,
) -> list[Span]:
    """Merge the frames that are hits and lie at most `gap_seconds` apart.

    `seconds` rises. The distance counts from where one hit stops being shown (`frame_stops`) to the
    next hit.
    """
    hits = np.flatnonzero(is_hit)
    if len(hits) == 0:
        return []
    stops = frame_stops(seconds, until)
    breaks = np.flatnonzero(seconds[hits[1:]] - stops[hits[:-1]] > gap_seconds) + 1
    firsts = np.append(0, breaks)
    lasts = np.append(breaks, len(hits)) - 1
    peaks = hits[_first_largest(scores[hits], firsts)]
    columns = seconds[hits[firsts]], stops[hits[lasts]], seconds[peaks], scores[peaks], peaks
    return [Span(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def _first_largest(values: Floats, firsts: NDArray[np.intp]) -> NDArray[np.intp]:
    """The place of the largest value of each run, of equal ones the first; runs begin at firsts."""
    lengths = np.diff(np.append(firsts, len(values)))
    largest = np.repeat(np.maximum.reduceat(values, firsts), lengths)
    at = np.flatnonzero(values == largest)
    return at[np.searchsorted(at, firsts)]


def sequence_spans(steps: Sequence[Step], found: Sequence[Sequence[Span]]) -> list[Span]:
    """Join one span per step, in order, each starting after the start of the one before.

    A step's span starts at most `within_seconds` after the stop of the span before it. Each first
    span takes the earliest followers that lead to the end; the score is the lowest of them. The
    spans of a step rise; the time is that of sorting them.
    """
    spans = [
        [span for span in row if span.stop_seconds - span.start_seconds >= step.hold_seconds]
        for step, row in zip(steps, found, strict=True)
    ]
    # backwards: each sequence that starts with a span of the step and leads to the end
    sequences = [[span] for span in spans[-1]]
    for step, row in zip(reversed(steps[1:]), reversed(spans[:-1]), strict=True):
        starts = [sequence[0].start_seconds for sequence in sequences]
        followed = []
        for span in row:
            at = bisect_right(starts, span.start_seconds)
            last = inf if step.within_seconds is None else span.stop_seconds + step.within_seconds
            if at < len(starts) and starts[at] <= last:
                followed.append([span, *sequences[at]])
        sequences = followed
    return [_joined(sequence) for sequence in sequences]


def _joined(sequence: Sequence[Span]) -> Span:
    weakest = min(sequence, key=lambda span: span.score)
    return Span(
        sequence[0].start_seconds,
        max(span.stop_seconds for span in sequence),
        weakest.peak_seconds,
        weakest.score,
        weakest.peak,
        tuple(sequence),
    )


def is_distinct(vector: Floats, kept: Sequence[Floats], near_duplicate: float) -> bool:
    """Whether a unit vector is less alike than `near_duplicate` to every one already kept."""
    return not kept or float(np.max(np.stack(kept) @ vector)) < near_duplicate


def distinct(vectors: Floats, near_duplicate: float) -> list[int]:
    """Return the places of vectors `[n, E]` that no earlier one that is kept is so like."""
    kept: list[int] = []
    shown: list[Floats] = []
    for at, vector in enumerate(vectors):
        if is_distinct(vector, shown, near_duplicate):
            kept.append(at)
            shown.append(vector)
    return kept
