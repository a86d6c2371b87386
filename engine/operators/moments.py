"""Spans of videos in which texts match."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.operators.base import Context, Operator, read_table, row_ids
from engine.operators.frame_rows import FrameRows, as_frames
from engine.search.moments import Span, Step, find_spans, sequence_spans
from engine.search.nearest import settle_cutoff, settle_scores
from engine.search.scores import Match, cosine_at, line_of, place_scores
from engine.storage import row_id
from engine.storage.view import Places
from schemas.tables import MOMENTS


@dataclass(frozen=True, slots=True)
class Moments:
    """Merge hits of each text into spans; several texts must follow one another as asked.

    A hit scores at least `min_score`; without it the calibrated match decides.
    """

    source: Operator
    steps: tuple[Step, ...]
    gap_seconds: float | None
    min_score: float | None

    @property
    def schema(self) -> pa.Schema:
        """The columns of `moments`."""
        return MOMENTS

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Look for the hits of each text, then walk through the videos that have some of all."""
        rows = self._source_rows(context)
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

    def _source_rows(self, context: Context) -> FrameRows:
        source = as_frames(self.source)
        if source is not None:
            return source.frame_rows(context)
        frames = context.reading.view.frames
        return FrameRows(frames, np.sort(frames.places(row_ids(read_table(self.source, context)))))

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
        return sequence_spans(self.steps, found)

    def _hits(self, context: Context, step: Step, places: Places | None) -> "_Hits":
        """The frames (of those at places) that are hits, with their cosine."""
        similarity = Match("", step.text)
        match, value = similarity, self.min_score
        if value is None:
            match = Match("", step.text, "probability")
            value = 1 - context.options.false_match_rate
        settle_cutoff(context, match, value, places)
        line, least = line_of(context, match), cosine_at(context, match, value)
        hits, scores = context.reading.rows.within(line.vector, least, places=places)
        exact = context.options.exact is True
        settle_scores(context, hits if exact else places)
        if match is similarity and not exact:
            return _Hits(hits, scores.astype(np.float64))
        return _Hits(hits, place_scores(context, similarity, hits))


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
    }
    return pa.RecordBatch.from_pydict(columns, schema=MOMENTS)
