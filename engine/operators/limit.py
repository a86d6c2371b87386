"""The first rows."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from engine.operators.base import Context, Operator
from engine.operators.frame_rows import FrameRows, FramesOfSource, as_frames, batches_of


@dataclass(frozen=True, slots=True)
class Limit(FramesOfSource):
    """Pass on the first `count` rows and pull no batch after them."""

    source: Operator
    count: int

    @property
    def schema(self) -> pa.Schema:
        """The source's columns."""
        return self.source.schema

    def frame_rows(self, context: Context) -> FrameRows:
        """Take the first ones."""
        source = as_frames(self.source)
        assert source is not None
        return source.frame_rows(context).take(slice(0, self.count))

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Cut the batch in which the last row stands."""
        if self.gives_frames:
            yield from batches_of(self, context)
            return
        left = self.count
        if left == 0:
            return
        for batch in self.source.batches(context):
            yield batch.slice(0, left)
            left -= batch.num_rows
            if left <= 0:
                return
