"""A statement's rest that only chooses, orders and names columns: done here, without a process."""

from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from engine.operators.condition import RowCondition

MOST_ROWS: Final = 10_000  # what is larger is bounded in memory and time by the cage alone


@dataclass(frozen=True, slots=True)
class SortKey:
    """A column by which rows are ordered, no value last unless it is to come first."""

    column: str
    order: str  # ascending or descending
    nulls: str  # at_start or at_end


@dataclass(frozen=True, slots=True)
class Plain:
    """Columns of one input under new names, of its first rows in an order."""

    input: str
    columns: tuple[tuple[str, pa.Field], ...]  # name in the input, and what is shown
    condition: RowCondition | None = None
    keys: tuple[SortKey, ...] = ()
    start: int = 0
    count: int | None = None

    @property
    def schema(self) -> pa.Schema:
        """What is shown."""
        return pa.schema([shown for _, shown in self.columns])

    def answer(self, rows: pa.Table, *, max_rows: int) -> pa.Table | None:
        """Return what DuckDB would, or None where that is not certain or there are many rows."""
        if rows.num_rows > MOST_ROWS:
            return None
        if self.condition is not None:
            rows = rows.filter(pa.array(self.condition.holds(rows.column)))
        if any(_has_nan(rows.column(key.column)) for key in self.keys):
            return None  # which DuckDB puts above all numbers, and Arrow beside null
        if self.keys:
            by = [(key.column, key.order, key.nulls) for key in self.keys]
            rows = rows.take(pc.sort_indices(rows, by))
        rows = rows.slice(self.start, self.count)
        if rows.num_rows > max_rows:
            return None
        chosen = rows.select([name for name, _ in self.columns])
        return chosen.rename_columns(self.schema.names).cast(self.schema)


def _has_nan(column: pa.ChunkedArray) -> bool:
    return pa.types.is_floating(column.type) and bool(pc.any(pc.is_nan(column)).as_py())
