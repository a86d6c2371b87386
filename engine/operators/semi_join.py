"""Rows whose key occurs elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.operators.base import Context, Operator, read_table
from engine.operators.frame_rows import FrameRows, FramesOfSource, as_frames, batches_of


@dataclass(frozen=True, slots=True)
class SemiJoin(FramesOfSource):
    """Pass on the rows whose key is among the other's; the other is read first, once."""

    source: Operator
    other: Operator
    key: str
    other_key: str

    @property
    def schema(self) -> pa.Schema:
        """The source's columns."""
        return self.source.schema

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Look each key up; with no keys at all the source is not pulled."""
        if self.gives_frames:
            yield from batches_of(self, context)
            return
        keys = self._keys(context)
        if len(keys) == 0:
            return
        for batch in self.source.batches(context):
            yield batch.filter(pc.is_in(batch.column(self.key), value_set=keys))

    def frame_rows(self, context: Context) -> FrameRows:
        """Look the keys of frames up."""
        source, keys = as_frames(self.source), self._keys(context)
        assert source is not None
        if len(keys) == 0:
            return FrameRows(context.reading.view.frames, np.empty(0, np.int64))
        rows = source.frame_rows(context)
        return rows.keep(pc.is_in(rows.column(self.key), value_set=keys).to_numpy())

    def _keys(self, context: Context) -> pa.Array:
        keys = read_table(self.other, context).column(self.other_key).unique()
        return keys.cast(self.schema.field(self.key).type)
