"""Rows that pass."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from engine.operators.base import Context, Operator


@dataclass(frozen=True, slots=True)
class Filter:
    """Pass on the rows for which all predicates, DuckDB's expressions, hold."""

    source: Operator
    predicates: Sequence[str]

    @property
    def schema(self) -> pa.Schema:
        """The source's columns."""
        return self.source.schema

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Filter batch by batch."""
        for batch in self.source.batches(context):
            rows = pa.Table.from_batches([batch])
            yield from context.sandbox.filter(rows, self.predicates).to_batches()
