"""Spans of videos in which texts match."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.operators.base import Context, Operator, read_table, row_ids
from engine.search.moments import Span, Step, find_spans, sequence_spans
from engine.search.nearest import settle_cutoff
from engine.search.scores import Match, cosine_at, cosines, line_of, score_rows
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
        rows = read_table(self.source, context)
        order = np.lexsort((rows.column("seconds").to_numpy(), rows.column("video_id").to_numpy()))
        rows = rows.take(pa.array(order))
        ids, seconds = row_ids(rows), rows.column("seconds").to_numpy()
        curves = [self._curve(context, step, ids) for step in self.steps]
        videos = ids >> 32
        bounds = np.flatnonzero(np.diff(videos)) + 1
        for part in np.split(np.arange(len(ids)), bounds):
            spans = self._spans(context, seconds[part], [curve[part] for curve in curves])
            if spans:
                yield _batch(int(videos[part[0]]), spans)

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

    def _curve(self, context: Context, step: Step, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """The cosine of every frame that is a hit, and minus infinity elsewhere."""
        if len(ids) == 0:
            return np.empty(0)
        similarity = Match("", step.text)
        match, value = similarity, self.min_score
        if value is None:
            match = Match("", step.text, "probability")
            value = 1 - context.options.false_match_rate
        settle_cutoff(context, match, value, ids)
        along = cosines(context, line_of(context, match).vector, ids)
        is_hit = along >= cosine_at(context, match, value)
        return np.where(is_hit, score_rows(context, similarity, ids), -np.inf)


def _batch(video_id: int, spans: list[Span]) -> pa.RecordBatch:
    columns = {
        "video_id": [video_id] * len(spans),
        "start_seconds": [span.start_seconds for span in spans],
        "stop_seconds": [span.stop_seconds for span in spans],
        "peak_seconds": [span.peak_seconds for span in spans],
        "score": [span.score for span in spans],
    }
    return pa.RecordBatch.from_pydict(columns, schema=MOMENTS)
