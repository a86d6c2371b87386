"""Which parts of videos have no embeddings yet."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.search.context import Range, SearchContext
from engine.search.rates import learn_from
from engine.search.work import Embedded
from engine.storage.snapshot import members
from engine.storage.view import View


def embed_videos(context: SearchContext, videos: NDArray[np.int64] | None) -> None:
    """Embed what is missing of some videos or all, whole videos; coarse ones where asked to."""
    view = context.reading.view
    if not view.has_unsettled:
        return
    gops = view.open_gops
    if videos is not None:
        gops = gops.filter(pa.array(members(gops.column("video_id").to_numpy(), videos)))
    if context.options.exact is not True:  # else coarse ones too, whole
        coarse = members(gops.column("video_id").to_numpy(), view.coarse)
        gops = gops.filter(pa.array(~coarse))
    if len(gops):
        embed_gops(context, gops)


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
            done = context.work.embedded[-1]
            if not done.complete and not _note_missing(context, gops):
                # the budget ended as the last of it was done: it ended nothing
                done = replace(done, complete=True, budget=False)
                context.work.embedded[-1] = done
            if done.complete:
                learn_from(context, missing, done)


def _note_missing(context: SearchContext, gops: pa.Table) -> bool:
    """Note what is left to embed; return whether that is anything."""
    left = find_missing(context, gops)
    context.work.missing_seconds += sum(item.stop_seconds - item.start_seconds for item in left)
    return bool(left)


def find_missing(context: SearchContext, gops: pa.Table) -> list[Range]:
    """The GOPs that no committed stretch of the space covers, adjacent ones as one range."""
    view = context.reading.view
    if not (len(gops) and view.has_unsettled):
        return []
    may_lack = members(gops.column("video_id").to_numpy(), view.unsettled)
    open_gops = gops.filter(pa.array(may_lack))
    open_gops = open_gops.sort_by([("video_id", "ascending"), ("start_seconds", "ascending")])
    left = ~covered(view, open_gops)
    return ranges_of(*(values[left] for values in spans_of(open_gops)))


def covered(view: View, gops: pa.Table) -> NDArray[np.bool_]:
    """Say which GOPs, by video, a committed stretch of the space covers."""
    videos, starts, stops = spans_of(gops)
    of_stretch, first, last = spans_of(view.stretches)
    found = np.zeros(len(starts), bool)
    for video_id in np.intersect1d(videos, of_stretch).tolist():
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


def ranges_of(videos: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> list[Range]:
    """Join spans, by video and time, that follow each other in one video."""
    if not len(videos):
        return []
    apart = (videos[1:] != videos[:-1]) | (starts[1:] > stops[:-1] + 1e-6)
    first, last = np.flatnonzero(np.append(True, apart)), np.flatnonzero(np.append(apart, True))
    found = zip(videos[first].tolist(), starts[first].tolist(), stops[last].tolist(), strict=True)
    return [Range(*each) for each in found]


def stands_until(
    view: View, video: int, seconds: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return until when rows of a coarse video stand for the rest of their group of pictures.

    Where the group has all of its rows that is the row's own time; None of a video that is fine.
    """
    if video not in view.coarse:
        return None
    gops = view.gops_of(np.array([video])).sort_by("start_seconds")
    _, starts, stops = spans_of(gops)
    group = (np.searchsorted(starts, seconds + 1e-6, "right") - 1).clip(min=0)
    return np.where(covered(view, gops)[group], seconds, stops[group])
