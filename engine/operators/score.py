"""Scores of frames as columns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa

from engine.operators.base import Context, Operator, row_ids
from engine.operators.frame_rows import FrameRows, FramesOfSource, as_frames, batches_of
from engine.search.nearest import settle_cutoff, settle_scores
from engine.search.scores import Match, ScoreRange, place_scores, places_within, score_rows
from engine.storage.view import Places


@dataclass(frozen=True, slots=True)
class Score(FramesOfSource):
    """Add a column per match: the score of every row, no index involved.

    `cuts` are values that a match will be compared with: rows close to them are made exact first,
    where the query asks for exact answers. `exact`: every row is. Frames outside of a match's range
    in `ranges` are left out: who reads this has no use for them.
    """

    source: Operator
    matches: tuple[Match, ...]
    cuts: tuple[tuple[Match, float], ...] = ()
    exact: bool = False
    ranges: Mapping[Match, ScoreRange] = field(default_factory=dict)

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
        """Score the source's frames, those first that leave fewer of them."""
        source = as_frames(self.source)
        assert source is not None
        rows = source.frame_rows(context)
        self._settle(context, rows.places)
        rows = replace(rows, frames=context.reading.view.frames)
        for match, kept in self.ranges.items():
            places, scores = places_within(context, match, kept, rows.places)
            rows = rows.at(places).adding(match.name, scores)
        for match in self.matches:
            if match not in self.ranges:
                rows = rows.adding(match.name, place_scores(context, match, rows.places))
        return rows

    def _settle(self, context: Context, places: Places | None) -> None:
        if self.exact or context.options.exact is not True:
            settle_scores(context, places)
        for match, value in self.cuts if not self.exact else ():
            settle_cutoff(context, match, value, places)
