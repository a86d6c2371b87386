"""The rows nearest to a vector, and the rows on the right side of a cut-off, exact where asked."""

import numpy as np
from numpy.typing import NDArray

from engine.search.context import SearchContext
from engine.search.exactness import refine_cutoff, refine_top_k
from engine.search.refiner import Refiner
from engine.search.scores import Match, cosine_at, line_of
from engine.search.work import Refined
from engine.storage.store import Hits
from engine.storage.view import Places


def find_best(
    context: SearchContext,
    vector: NDArray[np.float32],
    count: int,
    places: Places | None = None,
) -> Hits:
    """The `count` best rows (of those at places), made exact where the query asks for it."""
    refiner, exact = refiner_of(context), context.options.exact is True
    if refiner is not None:
        hits, refined = refine_top_k(refiner, vector, count, places=places, exact=exact)
        _note(context, refined)
    else:
        hits = context.reading.rows.search(vector, count, places, exact=exact)
    context.work.note_search(hits)
    return hits


def settle_cutoff(context: SearchContext, match: Match, value: float, places: Places) -> None:
    """Make the rows exact that may lie on the other side of a cut-off, where the query asks it."""
    refiner = refiner_of(context)
    if refiner is None or context.options.exact is not True:
        return
    if context.reading.view.frames.exact[places].all():
        return
    cutoff = cosine_at(context, match, value)
    vector = line_of(context, match).vector
    _, refined = refine_cutoff(refiner, vector, cutoff, places=places)
    _note(context, refined)


def refiner_of(context: SearchContext) -> Refiner | None:
    """What makes rows exact for a query; None where it cannot, or is not to."""
    if context.redecode is None or context.options.exact is False:
        return None
    return Refiner(
        context.reading,
        context.redecode,
        context.encoder.embed_images,
        max_frames=context.options.refine_frames,
        max_seconds=context.options.refine_seconds,
    )


def _note(context: SearchContext, refined: Refined) -> None:
    """Note what refining did; where all rows were exact there was nothing to refine."""
    if refined != Refined():
        context.work.refined.append(refined)
