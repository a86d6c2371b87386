"""Filter: the rows that pass a condition."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from engine.operators.base import Context, Operator
from engine.operators.condition import read_condition
from engine.operators.frame_rows import FrameRows, FramesOfSource, as_frames, batches_of

_PLACE = "__place"


@dataclass(frozen=True, slots=True)
class Filter(FramesOfSource):
    """Pass on the rows for which all predicates, DuckDB's expressions, hold."""

    source: Operator
    predicates: Sequence[str]

    @property
    def schema(self) -> pa.Schema:
        """The source's columns."""
        return self.source.schema

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Filter frames by their places, other rows batch by batch."""
        if self.gives_frames:
            yield from batches_of(self, context)
            return
        for batch in self.source.batches(context):
            found = pa.Table.from_batches([batch])
            yield from keep_rows(found, self.predicates, context).to_batches()

    def frame_rows(self, context: Context) -> FrameRows:
        """Read the columns that the predicates name and no other."""
        source = as_frames(self.source)
        assert source is not None
        rows, left = source.frame_rows(context), []
        for predicate in self.predicates:
            condition = read_condition(predicate, self.schema)
            if condition is None:
                left.append(predicate)
            else:
                rows = rows.keep(condition.holds(rows.column))
        if not left:
            return rows
        numbered = rows.table(self.schema).append_column(_PLACE, pa.array(np.arange(len(rows))))
        kept = context.sandbox.filter(numbered, left)
        return rows.take(kept.column(_PLACE).to_numpy())


def keep_rows(rows: pa.Table, predicates: Sequence[str], context: Context) -> pa.Table:
    """Keep the rows for which all predicates hold, in their order."""
    left = []
    for predicate in predicates:
        condition = read_condition(predicate, rows.schema)
        if condition is None:
            left.append(predicate)
        else:
            rows = rows.filter(pa.array(condition.holds(rows.column)))
    return context.sandbox.filter(rows, left) if left else rows
