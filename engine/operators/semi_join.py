"""Rows whose key occurs elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from engine.operators.base import Context, Operator, read_table


@dataclass(frozen=True, slots=True)
class SemiJoin:
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
        keys = read_table(self.other, context).column(self.other_key).unique()
        keys = keys.cast(self.schema.field(self.key).type)
        if len(keys) == 0:
            return
        for batch in self.source.batches(context):
            yield batch.filter(pc.is_in(batch.column(self.key), value_set=keys))
