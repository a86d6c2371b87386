"""The rows with the largest values."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.operators.base import Context, Operator
from engine.operators.frame_rows import FrameRows, FramesOfSource, as_frames, batches_of


@dataclass(frozen=True, slots=True)
class Top(FramesOfSource):
    """Pass on the `count` rows with the largest value in a column, of equal ones the first.

    With `ties` all rows that equal the last one of them pass too, whatever decides among them.
    """

    source: Operator
    column: str
    count: int
    ties: bool = False

    @property
    def schema(self) -> pa.Schema:
        """The source's columns."""
        return self.source.schema

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Keep the best rows so far, whatever the source's length."""
        if self.gives_frames:
            yield from batches_of(self, context)
            return
        best = self.schema.empty_table()
        for batch in self.source.batches(context):
            rows = pa.concat_tables([best, pa.Table.from_batches([batch])]).combine_chunks()
            order = _largest(rows.column(self.column).to_numpy(), self.count, ties=self.ties)
            best = rows.take(pa.array(order))
        yield from best.to_batches()

    def frame_rows(self, context: Context) -> FrameRows:
        """Choose by the one column."""
        source = as_frames(self.source)
        assert source is not None
        rows = source.frame_rows(context)
        return rows.take(_largest(rows.column(self.column).to_numpy(), self.count, ties=self.ties))


def _largest(values: NDArray[np.float64], count: int, *, ties: bool) -> NDArray[np.intp]:
    """Return the places of the largest values, no value last; of equal ones the first, or all."""
    if not 0 < count < len(values):
        return np.argsort(-values, kind="stable")[:count]
    least = np.partition(-values, count - 1)[count - 1]
    chosen = np.arange(len(values)) if np.isnan(least) else np.flatnonzero(-values <= least)
    ordered = chosen[np.argsort(-values[chosen], kind="stable")]
    return ordered if ties else ordered[:count]
