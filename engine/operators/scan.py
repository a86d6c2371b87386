"""Rows of the catalog."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from engine.caller import sees_folders
from engine.operators.base import Context


@dataclass(frozen=True, slots=True)
class Scan:
    """Read a relation as the catalog has it; of `frames`, the rows stored in the query's space."""

    relation: Literal["videos", "gops", "frames"]
    columns: pa.Schema
    predicates: Sequence[str] = ()

    @property
    def schema(self) -> pa.Schema:
        """The relation's columns."""
        return self.columns

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Read all rows, then yield those that pass."""
        rows = self._read(context)
        if "path" in self.columns.names and not sees_folders():
            rows = rows.set_column(rows.schema.get_field_index("path"), "path", rows["name"])
        rows = rows.select(self.columns.names).cast(self.columns)
        if self.predicates:
            rows = context.sandbox.filter(rows, self.predicates)
        yield from rows.to_batches(context.batch_rows)

    def _read(self, context: Context) -> pa.Table:
        if self.relation == "frames":
            return context.store.rows(context.space, None, self.columns.names)
        return context.store.relation(self.relation)
