"""Rows whose span overlaps another's."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.operators.base import Context, Operator, read_table

Span = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Overlapping:
    """Pass on the rows whose span overlaps that of some row of the other's, of the same video.

    The other's stop belongs to its span unless that has an open end; the source's never does.
    """

    source: Operator
    other: Operator
    open_end: bool

    @property
    def schema(self) -> pa.Schema:
        """The source's columns."""
        return self.source.schema

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Read the other first, once; with no rows there the source is not pulled."""
        videos, starts, stops = _spans(read_table(self.other, context))
        if not len(videos):
            return
        order = np.lexsort((starts, videos))
        videos, starts, stops = videos[order], starts[order], stops[order]
        for batch in self.source.batches(context):
            own, first, last = _spans(batch)
            kept = np.zeros(len(own), bool)
            for video in np.unique(own).tolist():
                part = slice(*np.searchsorted(videos, [video, video + 1]))
                reach = np.maximum.accumulate(stops[part])  # how far spans go that start so early
                at = np.flatnonzero(own == video)
                before = np.searchsorted(starts[part], last[at], side="left")
                known = before > 0
                reached = reach[before[known] - 1]
                after = np.greater if self.open_end else np.greater_equal
                kept[at[known]] = after(reached, first[at[known]])
            yield batch.filter(pa.array(kept))


def _spans(rows: pa.Table | pa.RecordBatch) -> Span:
    names = ("video_id", "start_seconds", "stop_seconds")
    videos, starts, stops = (rows.column(name).to_numpy(zero_copy_only=False) for name in names)
    return videos, starts, stops
