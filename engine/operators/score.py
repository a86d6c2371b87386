"""Scores of frames as columns."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from engine.operators.base import Context, Operator, row_ids
from engine.search.nearest import settle_cutoff
from engine.search.scores import Match, score_rows


@dataclass(frozen=True, slots=True)
class Score:
    """Add a column per match: the score of every row, no index involved.

    `cuts` are values that a match will be compared with: rows close to them are made exact first,
    where the query asks for exact cut-offs.
    """

    source: Operator
    matches: tuple[Match, ...]
    cuts: tuple[tuple[Match, float], ...] = ()

    @property
    def schema(self) -> pa.Schema:
        """The source's columns and one of doubles per match."""
        schema = self.source.schema
        for match in self.matches:
            schema = schema.append(pa.field(match.name, pa.float64()))
        return schema

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Score batch by batch."""
        for batch in self.source.batches(context):
            ids = row_ids(batch)
            for match, value in self.cuts:
                settle_cutoff(context, match, value, ids)
            columns = [score_rows(context, match, ids) for match in self.matches]
            arrays = [*batch.columns, *(pa.array(column) for column in columns)]
            yield pa.RecordBatch.from_arrays(arrays, schema=self.schema)
