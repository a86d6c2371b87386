"""Scores of frames as columns."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa

from engine.operators.base import Context, Operator, row_ids
from engine.operators.frame_rows import FrameRows, FramesOfSource, as_frames, batches_of
from engine.search.nearest import settle_cutoff, settle_scores
from engine.search.scores import Match, place_scores, score_rows
from engine.storage.view import Places


@dataclass(frozen=True, slots=True)
class Score(FramesOfSource):
    """Add a column per match: the score of every row, no index involved.

    `cuts` are values that a match will be compared with: rows close to them are made exact first,
    where the query asks for exact answers. `exact`: every row is.
    """

    source: Operator
    matches: tuple[Match, ...]
    cuts: tuple[tuple[Match, float], ...] = ()
    exact: bool = False

    @property
    def schema(self) -> pa.Schema:
        """The source's columns and one of doubles per match."""
        schema = self.source.schema
        for match in self.matches:
            schema = schema.append(pa.field(match.name, pa.float64()))
        return schema

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Score frames by their places; rows that come from elsewhere batch by batch."""
        if self.gives_frames:
            yield from batches_of(self, context)
            return
        for batch in self.source.batches(context):
            ids = row_ids(batch)
            self._settle(context, context.reading.view.frames.places(ids))
            columns = [score_rows(context, match, ids) for match in self.matches]
            arrays = [*batch.columns, *(pa.array(column) for column in columns)]
            yield pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def frame_rows(self, context: Context) -> FrameRows:
        """Score the source's frames."""
        source = as_frames(self.source)
        assert source is not None
        rows = source.frame_rows(context)
        self._settle(context, rows.listed)
        rows = replace(rows, frames=context.reading.view.frames)
        for match in self.matches:
            rows = rows.adding(match.name, place_scores(context, match, rows.places))
        return rows

    def _settle(self, context: Context, places: Places) -> None:
        if self.exact or context.options.exact is not True:
            settle_scores(context, places)
        for match, value in self.cuts if not self.exact else ():
            settle_cutoff(context, match, value, places)
