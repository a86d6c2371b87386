"""The frames nearest to a text or an image."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.operators.base import Context, Operator, read_table, row_ids
from engine.operators.embed import Embed
from engine.operators.measure import Match, cosine_at, line_of, score_rows
from engine.operators.refine import refine_cutoff, refine_top_k
from engine.operators.refiner import Refiner
from engine.operators.work import Refined
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


def find_best(
    context: Context,
    vector: NDArray[np.float32],
    count: int,
    allowed: NDArray[np.int64] | None = None,
) -> Hits:
    """The `count` best (allowed) rows, made exact where the query asks for it."""
    refiner = refiner_of(context)
    if refiner is not None:
        hits, refined = refine_top_k(refiner, vector, count, allowed=allowed)
        _note(context, refined)
    else:
        hits = context.store.search(context.space, vector, count, allowed=allowed)
    context.work.found.append(hits.index)
    return hits


def settle_cutoff(context: Context, match: Match, value: float, ids: NDArray[np.int64]) -> None:
    """Make the rows exact that may lie on the other side of a cut-off, where the query asks it."""
    refiner = refiner_of(context)
    if refiner is None or context.options.exact is not True or len(ids) == 0:
        return
    cutoff = cosine_at(context, match, value)
    vector = line_of(context, match).vector
    _, refined = refine_cutoff(refiner, vector, cutoff, allowed=ids)
    _note(context, refined)


def _note(context: Context, refined: Refined) -> None:
    """Note what refining did; where all rows were exact there was nothing to refine."""
    if refined != Refined():
        context.work.refined.append(refined)


def refiner_of(context: Context) -> Refiner | None:
    """What makes rows exact for a query; None where it cannot, or is not to."""
    if context.redecode is None or context.options.exact is False:
        return None
    return Refiner(
        context.store,
        context.space,
        context.redecode,
        context.encoder.embed_images,
        max_frames=context.options.refine_frames,
        max_seconds=context.options.refine_seconds,
    )
