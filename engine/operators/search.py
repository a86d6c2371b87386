"""The frames nearest to a text or an image."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from engine.operators.base import Context, Operator, read_table, row_ids
from engine.operators.frame_rows import FrameRows, FramesOfSource, as_frames, batches_of
from engine.search.nearest import find_best
from engine.search.scores import Match, Scores, line_of, measured
from engine.storage.view import Places


@dataclass(frozen=True, slots=True)
class Search(FramesOfSource):
    """The `count` rows of the source that score highest, best first, with their score."""

    source: Operator
    match: Match
    count: int

    @property
    def schema(self) -> pa.Schema:
        """The source's columns and the score."""
        return self.source.schema.append(pa.field(self.match.name, pa.float64()))

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Read the columns of the best rows alone, or take these out of rows from elsewhere."""
        if self.gives_frames:
            yield from batches_of(self, context)
            return
        rows = read_table(self.source, context)
        places = context.reading.view.frames.places(row_ids(rows))
        hits, scores = self._best(context, places)
        order = np.argsort(places)
        found = order[np.searchsorted(places[order], hits)]
        columns = rows.take(pa.array(found))
        yield from columns.append_column(self.schema.field(-1), pa.array(scores)).to_batches()

    def frame_rows(self, context: Context) -> FrameRows:
        """Search among all rows, or among those that the source lets through."""
        source = as_frames(self.source)
        assert source is not None
        rows = source.frame_rows(context)
        hits, scores = self._best(context, rows.places)
        frames = context.reading.view.frames  # some of them may be exact now
        return replace(rows.at(hits), frames=frames).adding(self.match.name, scores)

    def _best(self, context: Context, places: Places | None) -> tuple[Places, Scores]:
        """Return the places of the best rows and what the match measures there."""
        if not self.count or (places is not None and not len(places)):
            return np.empty(0, np.int64), np.empty(0)
        hits = find_best(context, line_of(context, self.match).vector, self.count, places)
        found = context.reading.view.frames.places(hits.row_ids)
        return found, measured(context, self.match, hits.scores)
