"""The frames nearest to a text or an image."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.operators.base import Context, Operator, read_table, row_ids
from engine.operators.embed import Embed
from engine.operators.measure import Match, score_rows, subject_vector
from engine.operators.null import load_null
from engine.operators.refine import Refiner, refine_top_k
from engine.storage.store import Hits


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
            hits = find_best(context, self._vector(context), self.count)
            videos = np.unique(hits.row_ids >> 32).tolist()
            names = self.source.schema.names
            rows = context.store.rows(context.space, videos, names).select(names)
            rows = rows.cast(self.source.schema)
        else:
            rows = read_table(self.source, context)
            allowed = np.sort(row_ids(rows))
            hits = find_best(context, self._vector(context), self.count, allowed)
        ids = row_ids(rows)
        found_ids = hits.row_ids[np.isin(hits.row_ids, ids)]  # a video may have gone meanwhile
        order = np.argsort(ids)
        places = order[np.searchsorted(ids[order], found_ids)]
        scores = score_rows(context, self.match, found_ids)
        found = rows.take(pa.array(places))
        yield from found.append_column(self.schema.field(-1), pa.array(scores)).to_batches()

    def _vector(self, context: Context) -> NDArray[np.float32]:
        vector = subject_vector(context, self.match.subject)
        if self.match.measure == "similarity":
            return vector
        # the probability rises with v · (t - t0)
        shifted = vector - load_null(context).mean_text
        return shifted / np.linalg.norm(shifted)


def find_best(
    context: Context,
    vector: NDArray[np.float32],
    count: int,
    allowed: NDArray[np.int64] | None = None,
    *,
    certain: int | None = None,
) -> Hits:
    """The `count` best (allowed) rows; the one place where a top-k is decided.

    The first `certain` of them (all, unless given) are made exact where the query asks for it.
    """
    options = context.options
    if options.exact and context.redecode is not None:
        refiner = Refiner(
            context.store,
            context.space,
            context.redecode,
            context.encoder.embed_images,
            max_frames=options.refine_frames,
            max_seconds=options.refine_seconds,
        )
        k = count if certain is None else certain
        hits, refined = refine_top_k(refiner, vector, k, depth=count, allowed=allowed)
        context.work.refined.append(refined)
    else:
        hits = context.store.search(context.space, vector, count, allowed=allowed)
    context.work.found.append(hits.index)
    return hits
