"""The frames nearest to a text or an image."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from engine.operators.base import Context, Operator, read_table, row_ids
from engine.operators.embed import Embed
from engine.search.nearest import find_best
from engine.search.scores import Match, line_of, score_rows


@dataclass(frozen=True, slots=True)
class Search:
    """The `count` rows of the source that score highest, best first, with their score.

    `whole`: the source is all frames there are; it is embedded where needed, but not read.
    """

    source: Operator
    match: Match
    count: int
    whole: bool = False

    @property
    def schema(self) -> pa.Schema:
        """The source's columns and the score."""
        return self.source.schema.append(pa.field(self.match.name, pa.float64()))

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Search among all rows, or among those that the source lets through."""
        if self.whole:
            assert isinstance(self.source, Embed)
            self.source.prepare(context)
            stored = context.store.rows(context.space, None, ["row_id"]).num_rows
            context.work.stored_frames += stored
            hits = find_best(context, line_of(context, self.match).vector, self.count)
            videos = np.unique(hits.row_ids >> 32).tolist()
            names = self.source.schema.names
            rows = context.store.rows(context.space, videos, names).select(names)
            rows = rows.cast(self.source.schema)
        else:
            rows = read_table(self.source, context)
            allowed = np.sort(row_ids(rows))
            hits = find_best(context, line_of(context, self.match).vector, self.count, allowed)
        ids = row_ids(rows)
        found_ids = hits.row_ids[np.isin(hits.row_ids, ids)]  # a video may have gone meanwhile
        order = np.argsort(ids)
        places = order[np.searchsorted(ids[order], found_ids)]
        scores = score_rows(context, self.match, found_ids)
        found = rows.take(pa.array(places))
        yield from found.append_column(self.schema.field(-1), pa.array(scores)).to_batches()
