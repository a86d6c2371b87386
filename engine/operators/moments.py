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
        """Score all frames per text, then walk through the videos one after another."""
        rows = self._source_rows(context)
        frames, places = rows.frames, rows.listed
        videos, seconds = row_id.videos_of(frames.row_ids[places]), frames.seconds[places]
        order = np.lexsort((seconds, videos))
        places, videos, seconds = places[order], videos[order], seconds[order]
        curves = [self._curve(context, step, places) for step in self.steps]
        bounds = np.flatnonzero(np.diff(videos)) + 1
        for part in np.split(np.arange(len(places)), bounds) if len(places) else ():
            spans = self._spans(context, seconds[part], [curve[part] for curve in curves])
            if spans:
                yield _batch(int(videos[part[0]]), spans)

    def _source_rows(self, context: Context) -> FrameRows:
        source = as_frames(self.source)
        if source is not None:
            return source.frame_rows(context)
        frames = context.reading.view.frames
        return FrameRows(frames, frames.places(row_ids(read_table(self.source, context))))

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

    def _curve(self, context: Context, step: Step, places: Places) -> NDArray[np.float64]:
        """The cosine of every frame that is a hit, and minus infinity elsewhere."""
        similarity = Match("", step.text)
        match, value = similarity, self.min_score
        if value is None:
            match = Match("", step.text, "probability")
            value = 1 - context.options.false_match_rate
        settle_cutoff(context, match, value, places)
        along = context.reading.rows.scores(line_of(context, match).vector, places)
        hits = np.flatnonzero(along >= cosine_at(context, match, value))
        settle_scores(context, places if context.options.exact is not True else places[hits])
        curve = np.full(len(places), -np.inf)
        curve[hits] = place_scores(context, similarity, places[hits])
        return curve


def _batch(video_id: int, spans: list[Span]) -> pa.RecordBatch:
    columns = {
        "video_id": [video_id] * len(spans),
        "start_seconds": [span.start_seconds for span in spans],
        "stop_seconds": [span.stop_seconds for span in spans],
        "peak_seconds": [span.peak_seconds for span in spans],
        "score": [span.score for span in spans],
    }
    return pa.RecordBatch.from_pydict(columns, schema=MOMENTS)
