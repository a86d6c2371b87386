"""Rows made exact, with the scores that they then have."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa

from engine.operators.base import Context, Operator, row_ids
from engine.operators.frame_rows import FrameRows, FramesOfSource, as_frames, batches_of
from engine.search.nearest import settle_scores
from engine.search.scores import Match, score_rows


@dataclass(frozen=True, slots=True)
class Exact(FramesOfSource):
    """Pass on all rows once their vectors are exact; the scores of the matches are taken anew."""

    source: Operator
    matches: tuple[Match, ...]

    @property
    def schema(self) -> pa.Schema:
        """The source's columns."""
        return self.source.schema

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Make frames exact by their places; rows that come from elsewhere batch by batch."""
        if self.gives_frames:
            yield from batches_of(self, context)
            return
        for batch in self.source.batches(context):
            ids = row_ids(batch)
            settle_scores(context, context.reading.view.frames.places(ids))
            arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
            for match in self.matches:
                arrays[match.name] = pa.array(score_rows(context, match, ids), from_pandas=True)
            yield pa.RecordBatch.from_arrays(list(arrays.values()), schema=self.schema)

    def frame_rows(self, context: Context) -> FrameRows:
        """Make the source's frames exact."""
        source = as_frames(self.source)
        assert source is not None
        rows = source.frame_rows(context)
        settle_scores(context, rows.places)
        frames = context.reading.view.frames
        rows = replace(rows, frames=frames)
        for match in self.matches:
            ids = frames.row_ids[rows.listed]
            rows = rows.adding(match.name, score_rows(context, match, ids))
        return rows
