"""The relational rest of a statement, in DuckDB."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from engine.operators.base import Context, Operator, read_table
from engine.operators.plain import Plain

_READINGS = 3


@dataclass(frozen=True, slots=True)
class Relational:
    """Read the inputs, each into memory, and run the statement over them in the sandbox.

    Where all that is left of it is `plain`, no other process is asked.
    """

    sql: str
    inputs: tuple[tuple[str, Operator], ...]
    columns: pa.Schema
    max_rows: int
    plain: Plain | None = None

    @property
    def schema(self) -> pa.Schema:
        """The columns that the statement gives."""
        return self.columns

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Run the statement once all inputs are there."""
        yield from self.finish(self.read_inputs(context), context).to_batches(context.batch_rows)

    def finish(self, tables: Mapping[str, pa.Table], context: Context) -> pa.Table:
        """Run the statement over its inputs."""
        answer = None
        if self.plain is not None:
            answer = self.plain.answer(tables[self.plain.input], max_rows=self.max_rows)
        if answer is None:
            answer = context.sandbox.run(self.sql, tables, max_rows=self.max_rows)
        return typed(answer, self.columns)

    def read_inputs(self, context: Context) -> dict[str, pa.Table]:
        """Read the inputs as of one moment: again where one had frames embedded in between."""
        for tries in range(_READINGS):
            # what others bring in all the while must not keep the statement from its answer
            context.reading.final = tries == _READINGS - 1
            before = context.reading.renewals
            context.work.forget_reading()
            for name, source in self.inputs:
                context.shared[name] = read_table(source, context)
            if context.reading.renewals == before:
                break
        return {name: context.shared[name] for name, _ in self.inputs}


def typed(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows with the names and types of a schema.

    A column that has its type already is left alone: where a type holds nulls alone, as that of an
    empty map does, Arrow's cast ends the process.
    """
    pairs = zip(rows.columns, schema, strict=True)
    columns = [each if each.type == field.type else each.cast(field.type) for each, field in pairs]
    return pa.Table.from_arrays(columns, schema=schema)
