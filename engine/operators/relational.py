"""The relational rest of a statement, in DuckDB."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from engine.operators.base import Context, Operator, read_table


@dataclass(frozen=True, slots=True)
class Relational:
    """Read the inputs, each into memory, and run the statement over them in the sandbox."""

    sql: str
    inputs: tuple[tuple[str, Operator], ...]
    columns: pa.Schema
    max_rows: int

    @property
    def schema(self) -> pa.Schema:
        """The columns that the statement gives."""
        return self.columns

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Run the statement once all inputs are there."""
        tables = {name: read_table(source, context) for name, source in self.inputs}
        answer = context.sandbox.run(self.sql, tables, max_rows=self.max_rows)
        answer = answer.rename_columns(self.columns.names).cast(self.columns)
        yield from answer.to_batches(context.batch_rows)
