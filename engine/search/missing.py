"""Which parts of videos have no embeddings yet."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine.search.context import Range, SearchContext
from engine.search.rates import learn_from
from engine.search.work import Embedded
from engine.storage.view import View


def embed_videos(context: SearchContext, videos: Iterable[int]) -> None:
    """Embed what is missing of these videos, whole videos at a time; coarse ones where asked to."""
    view = context.reading.view
    listed = np.setdiff1d(np.fromiter(videos, np.int64), view.settled)
    if context.options.exact is not True:  # else coarse ones too, whole
        listed = np.setdiff1d(listed, view.coarse)
    if len(listed):
        own = pc.is_in(view.gops.column("video_id"), pa.array(listed))
        embed_gops(context, view.gops.filter(own))


def embed_gops(context: SearchContext, gops: pa.Table) -> None:
    """Embed those of the GOPs that have no embeddings yet."""
    if find_missing(context, gops):
        if context.reading.final:
            context.work.embedded.append(Embedded(complete=False))
            _note_missing(context, gops)
            return
        context.reading.renew()  # others may have embedded them since this moment
        missing = find_missing(context, gops)
        if missing:
            context.embed_missing(missing)
            if context.work.embedded[-1].complete:
                learn_from(context, missing, context.work.embedded[-1])
            else:
                _note_missing(context, gops)


def _note_missing(context: SearchContext, gops: pa.Table) -> None:
    left = find_missing(context, gops)
    context.work.missing_seconds += sum(item.stop_seconds - item.start_seconds for item in left)


def find_missing(context: SearchContext, gops: pa.Table) -> list[Range]:
    """The GOPs that no committed stretch of the space covers, adjacent ones as one range."""
    view = context.reading.view
    if not view.has_unsettled:
        return []
    open_gops = gops.filter(pc.invert(pc.is_in(gops.column("video_id"), pa.array(view.settled))))
    open_gops = open_gops.sort_by([("video_id", "ascending"), ("start_seconds", "ascending")])
    videos, starts, stops = spans_of(open_gops)
    left = ~covered(view, open_gops)
    missing: list[Range] = []
    for video_id in np.unique(videos).tolist():
        own = left & (videos == video_id)
        missing += ranges_of(video_id, starts[own], stops[own])
    return missing


def covered(view: View, gops: pa.Table) -> NDArray[np.bool_]:
    """Say which GOPs, by video, a committed stretch of the space covers."""
    videos, starts, stops = spans_of(gops)
    of_stretch, first, last = spans_of(view.stretches)
    found = np.zeros(len(starts), bool)
    for video_id in np.unique(videos).tolist():
        own = slice(*np.searchsorted(videos, [video_id, video_id + 1]))
        for stretch in range(*np.searchsorted(of_stretch, [video_id, video_id + 1]).tolist()):
            inside = (starts[own] >= first[stretch] - 1e-6) & (stops[own] <= last[stretch] + 1e-6)
            found[own] |= inside
    return found


def spans_of(rows: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return video, start and stop of GOPs or stretches."""
    names = ("video_id", "start_seconds", "stop_seconds")
    videos, starts, stops = (rows.column(name).to_numpy() for name in names)
    return videos, starts, stops


def ranges_of(video_id: int, starts: np.ndarray, stops: np.ndarray) -> list[Range]:
    """Join spans of one video that follow each other."""
    ranges: list[Range] = []
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        if ranges and start <= ranges[-1].stop_seconds + 1e-6:
            ranges[-1] = Range(video_id, ranges[-1].start_seconds, stop)
        else:
            ranges.append(Range(video_id, start, stop))
    return ranges


def stands_until(
    view: View, video: int, seconds: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return until when rows of a coarse video stand for the rest of their group of pictures.

    Where the group has all of its rows that is the row's own time; None of a video that is fine.
    """
    if video not in view.coarse:
        return None
    gops = view.gops.filter(pc.equal(view.gops.column("video_id"), video))
    gops = gops.sort_by("start_seconds")
    _, starts, stops = spans_of(gops)
    group = (np.searchsorted(starts, seconds + 1e-6, "right") - 1).clip(min=0)
    return np.where(covered(view, gops)[group], seconds, stops[group])
