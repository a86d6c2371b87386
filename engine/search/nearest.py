"""The rows nearest to a vector, and the rows on the right side of a cut-off, exact where asked."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.search.context import SearchContext
from engine.search.exactness import refine_cutoff, refine_top_k
from engine.search.ordered import best_in_order
from engine.search.refiner import Refiner
from engine.search.scores import Match, cosine_at, line_of
from engine.search.work import Refined
from engine.storage.store import Hits
from engine.storage.view import Places

L = TypeVar("L", int, float)


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
        hits = best_in_order(context.reading.rows, vector, count, places, exact=exact)
        note_inexact(context, places)
    context.work.note_search(hits)
    return hits


def settle_cutoff(
    context: SearchContext, match: Match, value: float, places: Places | None
) -> None:
    """Make the rows exact that may lie on the other side of a cut-off, where the query asks it.

    The rows are those at places, or all.
    """
    if context.options.exact is not True or _are_exact(context, places):
        return
    refiner = refiner_of(context)
    if refiner is None:
        note_inexact(context, places)
        return
    cutoff = cosine_at(context, match, value)
    vector = line_of(context, match).vector
    _, refined = refine_cutoff(refiner, vector, cutoff, places=places)
    _note(context, refined)


def settle_scores(context: SearchContext, places: Places | None) -> None:
    """Make all of these rows exact, where the query asks it, as far as its budget goes."""
    if _are_exact(context, places):
        return
    frames, shown = context.reading.view.frames, slice(None) if places is None else places
    refiner = refiner_of(context)
    if refiner is not None and context.options.exact is True:
        refiner.refine_all(frames.row_ids[shown])
        _note(context, refiner.report())
    note_inexact(context, places)


def note_inexact(context: SearchContext, places: Places | None) -> None:
    """Note how many of these rows, or of all, are approximate: the answer rests on them."""
    if not _are_exact(context, places):
        exact = context.reading.view.frames.exact
        context.work.inexact += int((~(exact if places is None else exact[places])).sum())


def _are_exact(context: SearchContext, places: Places | None) -> bool:
    """Whether all of these rows are exact; mostly all of the space are, which is known."""
    frames = context.reading.view.frames
    return frames.all_exact or (places is not None and bool(frames.exact[places].all()))


def refiner_of(context: SearchContext) -> Refiner | None:
    """What makes rows exact for a query and keeps them; None where it cannot, or is not to."""
    if context.redecode is None or context.store.read_only or context.options.exact is False:
        return None
    return Refiner(
        context.reading,
        context.redecode,
        context.encoder.embed_images,
        max_frames=_least(context.options.refine_frames, context.frames_left),
        max_seconds=_least(context.options.refine_seconds, context.seconds_left),
    )


def _note(context: SearchContext, refined: Refined) -> None:
    """Note what refining did; where all rows were exact there was nothing to refine."""
    if refined != Refined():
        context.work.refined.append(refined)


def _least(*limits: L | None) -> L | None:
    return min((limit for limit in limits if limit is not None), default=None)
