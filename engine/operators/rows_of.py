"""Rows that were read before for the same statement."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from engine.operators.base import Context


@dataclass(frozen=True, slots=True)
class RowsOf:
    """The rows of an input of the statement, which was read before this one."""

    input: str
    schema: pa.Schema

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Pass them on as they are."""
        yield from context.shared[self.input].to_batches()
