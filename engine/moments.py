"""A curve of scores over a video's frames, and the spans in which it is high."""

from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Step:
    """One text of a sequence: how long it must hold, how far apart its hits may lie."""

    text: str
    hold_seconds: float = 0.0
    gap_seconds: float | None = None
    within_seconds: float | None = None  # of the end of the step before


def frame_stops(seconds: Floats) -> Floats:
    """When each frame stops being shown: at the next one; the last lasts a median step."""
    if len(seconds) == 0:
        return seconds
    steps = np.diff(seconds)
    typical = float(np.median(steps)) if len(steps) else 1.0
    return np.append(seconds[:-1] + np.minimum(steps, 2 * typical), seconds[-1] + typical)


def find_spans(
    seconds: Floats, scores: Floats, is_hit: NDArray[np.bool_], gap_seconds: float
) -> list[Span]:
    """Merge the frames that are hits and lie at most `gap_seconds` apart.

    `seconds` rises. The distance counts from where one hit stops being shown to the next hit.
    """
    hits = np.flatnonzero(is_hit)
    if len(hits) == 0:
        return []
    stops = frame_stops(seconds)
    breaks = np.flatnonzero(seconds[hits[1:]] - stops[hits[:-1]] > gap_seconds) + 1
    spans = []
    for run in np.split(hits, breaks):
        peak = int(run[np.argmax(scores[run])])
        spans.append(
            Span(
                float(seconds[run[0]]),
                float(stops[run[-1]]),
                float(seconds[peak]),
                float(scores[peak]),
                peak,
            )
        )
    return spans


def chain_spans(steps: Sequence[Step], found: Sequence[Sequence[Span]]) -> list[Span]:
    """Join one span per step, in order, each starting no sooner than the last one's start.

    A step's span starts after the start of the span before it and at most `within_seconds` after
    that span's stop. Each first span takes the earliest followers; the score is the lowest of them.
    """
    spans = [
        [span for span in row if span.stop_seconds - span.start_seconds >= step.hold_seconds]
        for step, row in zip(steps, found, strict=True)
    ]
    chains = []
    for first in spans[0]:
        chain = _extend([first], steps[1:], spans[1:])
        if chain:
            weakest = min(chain, key=lambda span: span.score)
            chains.append(
                Span(
                    first.start_seconds,
                    max(span.stop_seconds for span in chain),
                    weakest.peak_seconds,
                    weakest.score,
                    weakest.peak,
                )
            )
    return chains


def _extend(chain: list[Span], steps: Sequence[Step], spans: list[list[Span]]) -> list[Span]:
    """Return the first complete chain in order of start times, or an empty list."""
    if not steps:
        return chain
    last, within = chain[-1], steps[0].within_seconds
    for span in spans[0]:
        late = within is not None and span.start_seconds > last.stop_seconds + within
        if span.start_seconds > last.start_seconds and not late:
            whole = _extend([*chain, span], steps[1:], spans[1:])
            if whole:
                return whole
    return []


def is_apart(vector: Floats, kept: Sequence[Floats], near_duplicate: float) -> bool:
    """Whether a unit vector is less alike than `near_duplicate` to every one already kept."""
    return not kept or float(np.max(np.stack(kept) @ vector)) < near_duplicate
