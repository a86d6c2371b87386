"""Counts the rows that come to a condition, or pass it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from engine.operators.base import Context, Operator
from engine.operators.frame_rows import FrameRows, FramesOfSource, as_frames


@dataclass(frozen=True, slots=True)
class Counted(FramesOfSource):
    """Pass everything on; how many rows that were goes into the context's work."""

    source: Operator
    condition: str
    passed: bool  # or they come to it

    @property
    def schema(self) -> pa.Schema:
        """The source's columns."""
        return self.source.schema

    def frame_rows(self, context: Context) -> FrameRows:
        """Count the places."""
        source = as_frames(self.source)
        assert source is not None
        rows = source.frame_rows(context)
        context.work.note_rows(self.condition, len(rows), passed=self.passed)
        return rows

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Count each batch before it is passed on."""
        for batch in self.source.batches(context):
            context.work.note_rows(self.condition, batch.num_rows, passed=self.passed)
            yield batch
