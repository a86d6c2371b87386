"""The first rows."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from engine.operators.base import Context, Operator


@dataclass(frozen=True, slots=True)
class Limit:
    """Pass on the first `count` rows and pull no batch after them."""

    source: Operator
    count: int

    @property
    def schema(self) -> pa.Schema:
        """The source's columns."""
        return self.source.schema

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Cut the batch in which the last row stands."""
        left = self.count
        if left == 0:
            return
        for batch in self.source.batches(context):
            yield batch.slice(0, left)
            left -= batch.num_rows
            if left <= 0:
                return
