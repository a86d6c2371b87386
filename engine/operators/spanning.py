"""Rows in whose span something of another input lies."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from engine.operators.base import Context, Operator, read_table


@dataclass(frozen=True, slots=True)
class Spanning:
    """Pass on the rows in whose span lies the second of some row of the other's, of their video.

    A row's stop belongs to its span unless that has an open end.
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
        rows = read_table(self.other, context)
        videos, seconds = (rows.column(name).to_numpy() for name in ("video_id", "seconds"))
        if not len(videos):
            return
        order = np.lexsort((seconds, videos))
        videos, seconds = videos[order], seconds[order]
        side = "left" if self.open_end else "right"
        for batch in self.source.batches(context):
            names = ("video_id", "start_seconds", "stop_seconds")
            own, first, last = (batch.column(name).to_numpy() for name in names)
            kept = np.zeros(len(own), bool)
            for video in np.unique(own).tolist():
                at = np.flatnonzero(own == video)
                part = seconds[slice(*np.searchsorted(videos, [video, video + 1]))]
                after = np.searchsorted(part, first[at], side="left")
                kept[at] = np.searchsorted(part, last[at], side=side) > after  # type: ignore[call-overload]
            yield batch.filter(pa.array(kept))
