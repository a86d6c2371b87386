"""Spans of videos in which texts match."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.operators.base import Context, Operator
from engine.operators.frame_rows import FrameRows, frames_given
from engine.search.moments import Shown, Span, Step, Together, find_spans, sequence_spans
from engine.search.nearest import settle_cutoff, settle_scores
from engine.search.scores import Match, cosine_at, line_of, place_scores
from engine.storage import row_id
from engine.storage.view import Places
from schemas.tables import MOMENTS, MOMENTS_OF_TEXTS, STEP


@dataclass(frozen=True, slots=True)
class Moments:
    """Merge hits of each text into spans; several texts must follow one another as asked.

    A hit scores at least `min_score`; without it the calibrated match decides. Moments last at
    least `min_duration` seconds, and of them the `top_k` that score highest are given. Texts that
    stand `apart` have each its own moments, as if it had been asked for alone.
    """

    source: Operator
    steps: tuple[Step, ...]
    gap_seconds: float | None
    min_score: float | None
    min_duration: float = 0.0
    top_k: int | None = None
    apart: bool = False

    @property
    def schema(self) -> pa.Schema:
        """The columns of `moments`."""
        return MOMENTS_OF_TEXTS if self.apart else MOMENTS

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Read the frames once, then look for the moments of each text, or of all."""
        if not self.steps:
            return
        rows = frames_given(self.source, context)
        if not self.apart:
            yield from self._chosen(context, rows)
            return
        for step in self.steps:
            alone = replace(self, steps=(step,), apart=False)
            for batch in alone._chosen(context, rows):
                yield batch.append_column(
                    MOMENTS_OF_TEXTS.field("text"), pa.array([str(step.text)] * len(batch))
                )

    def _chosen(self, context: Context, rows: FrameRows) -> Iterator[pa.RecordBatch]:
        """Look for moments video by video; the best of all once all are there."""
        if self.top_k is None:
            yield from self._all(context, rows)
            return
        found = pa.Table.from_batches(list(self._all(context, rows)), MOMENTS)
        order = [("score", "descending"), ("video_id", "ascending"), ("start_seconds", "ascending")]
        yield from found.sort_by(order).slice(0, self.top_k).to_batches()

    def _all(self, context: Context, rows: FrameRows) -> Iterator[pa.RecordBatch]:
        """Look for the hits of each text, then walk through the videos that have some of all."""
        frames, places, videos = rows.frames, rows.places, np.empty(0, np.int64)
        steps: list[_Hits] = []
        for step in self.steps:
            steps.append(self._hits(context, step, places))
            videos = np.unique(row_id.videos_of(frames.row_ids[steps[-1].places]))
            own = frames.of_videos(videos)
            places = own if places is None or own is None else np.intersect1d(places, own)
        shown = np.arange(len(frames)) if places is None else places
        edges = row_id.pack(np.append(videos, videos[-1:] + 1), 0)
        bounds = np.searchsorted(frames.row_ids[shown], edges)
        for video, start, stop in zip(videos.tolist(), bounds[:-1], bounds[1:], strict=True):
            part = shown[start:stop]
            part = part[np.argsort(frames.seconds[part], kind="stable")]
            spans = self._spans(context, frames.seconds[part], [hits.at(part) for hits in steps])
            if spans:
                yield _batch(video, spans)

    def _spans(
        self, context: Context, seconds: NDArray[np.float64], curves: list[NDArray[np.float64]]
    ) -> list[Span]:
        default = context.options.gap_seconds if self.gap_seconds is None else self.gap_seconds
        found = [
            find_spans(
                seconds,
                curve,
                np.isfinite(curve),
                default if step.gap_seconds is None else step.gap_seconds,
            )
            for step, curve in zip(self.steps, curves, strict=True)
        ]
        least = self.min_duration
        spans = sequence_spans(self.steps, found)
        return [span for span in spans if span.stop_seconds - span.start_seconds >= least]

    def _hits(self, context: Context, step: Step, places: Places | None) -> "_Hits":
        """The frames (of those at places) that are hits, with their score."""
        exact = context.options.exact is True
        if isinstance(step.text, Together):
            hits = self._together(context, step.text, places)
            settle_scores(context, hits if exact else places)
            return _Hits(hits, _scores(context, step.text, hits))
        hits, scores = self._within(context, step.text, places)
        settle_scores(context, hits if exact else places)
        if self.min_score is not None and not exact:
            return _Hits(hits, scores.astype(np.float64))
        return _Hits(hits, _scores(context, step.text, hits))

    def _within(
        self, context: Context, text: str, places: Places | None
    ) -> tuple[Places, NDArray[np.float32]]:
        """The frames (of those at places) that are hits of one text, by rising place."""
        match, value = Match("", text), self.min_score
        if value is None:
            match = Match("", text, "probability")
            value = 1 - context.options.false_match_rate
        settle_cutoff(context, match, value, places)
        line, least = line_of(context, match), cosine_at(context, match, value)
        return context.reading.rows.within(line.vector, least, places=places)

    def _together(self, context: Context, shown: Shown, places: Places | None) -> Places:
        """The frames (of those at places) that show what is asked, by rising place."""
        if not isinstance(shown, Together):
            return self._within(context, shown, places)[0]
        found = [self._together(context, part, places) for part in shown.parts]
        if shown.kind == "not":
            every = np.arange(len(context.reading.view.frames)) if places is None else places
            return np.setdiff1d(every, found[0])
        return reduce(np.intersect1d if shown.kind == "and" else np.union1d, found)


def _scores(context: Context, shown: Shown, hits: Places) -> NDArray[np.float64]:
    """The cosine of each frame; of texts together the lowest (AND) or highest (OR).

    NOT counts only where nothing else does, with its sign turned.
    """
    if not isinstance(shown, Together):
        return place_scores(context, Match("", shown), hits)
    if shown.kind == "not":
        return -_scores(context, shown.parts[0], hits)
    said = [p for p in shown.parts if not (isinstance(p, Together) and p.kind == "not")]
    values = np.stack([_scores(context, part, hits) for part in said or shown.parts])
    return np.asarray(values.min(0) if shown.kind == "and" else values.max(0), np.float64)


@dataclass(frozen=True, slots=True)
class _Hits:
    """The hits of one text, by rising place."""

    places: Places
    scores: NDArray[np.float64]

    def at(self, places: Places) -> NDArray[np.float64]:
        """The cosine of the frames at places that are hits, minus infinity for others."""
        found = np.searchsorted(self.places, places).clip(max=len(self.places) - 1)
        return np.where(self.places[found] == places, self.scores[found], -np.inf)


def _batch(video_id: int, spans: list[Span]) -> pa.RecordBatch:
    columns = {
        "video_id": [video_id] * len(spans),
        "start_seconds": [span.start_seconds for span in spans],
        "stop_seconds": [span.stop_seconds for span in spans],
        "peak_seconds": [span.peak_seconds for span in spans],
        "score": [span.score for span in spans],
        "steps": [[_step(part) for part in span.parts] for span in spans],
    }
    return pa.RecordBatch.from_pydict(columns, schema=MOMENTS)


def _step(part: Span) -> dict[str, float]:
    return {name: getattr(part, name) for name in STEP.names}
