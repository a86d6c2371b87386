"""The rows with the largest values."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from engine.operators.base import Context, Operator


@dataclass(frozen=True, slots=True)
class Top:
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
        best = self.schema.empty_table()
        for batch in self.source.batches(context):
            rows = pa.concat_tables([best, pa.Table.from_batches([batch])]).combine_chunks()
            values = rows.column(self.column).to_numpy()
            order = np.argsort(-values, kind="stable")
            kept = self.count
            if self.ties and 0 < kept < len(order):
                kept = int((values >= values[order[kept - 1]]).sum())
            best = rows.take(pa.array(order[:kept]))
        yield from best.to_batches()
