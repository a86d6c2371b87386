"""Which videos and frames a query looks at."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.errors import NotFoundError, check_videos
from engine.search.context import SearchContext
from engine.search.missing import embed_videos
from engine.storage.records import Video
from engine.storage.store import Store
from engine.storage.view import Places


@dataclass(frozen=True, slots=True)
class Selection:
    """Videos by id with their names; the places of their rows, or None for all there are."""

    names: Mapping[int, str]
    count: int  # of frames
    places: Places | None


def select_videos(store: Store, wanted: Sequence[int | str] | None) -> list[Video]:
    """Return the videos with these ids, names or globs; each must mean at least one."""
    if wanted is None:
        return store.catalog.videos()
    check_videos(wanted)
    listed = list(wanted)
    ids = [int(item) for item in listed if not isinstance(item, str)]
    found = {video.video_id: video for video in (store.catalog.videos_of(ids) if ids else ())}
    for item in listed:
        if not isinstance(item, str):
            continue
        if re.search(r"[*?\[]", item):
            matching = store.catalog.videos(item)
            if not matching:
                raise NotFoundError(f"no stored video's name matches {item!r}")
        else:
            matching = [store.catalog.video(item)]
        found |= {video.video_id: video for video in matching}
    return list(found.values())


def select_frames(context: SearchContext, wanted: Sequence[int | str] | None) -> Selection:
    """Return the frames of the wanted videos, embedding those that have none yet."""
    if wanted is None:
        embed_videos(context, context.reading.view.names)
        view = context.reading.view  # others may have brought videos in since
        return Selection(view.names, len(view.frames), None)
    names = {video.video_id: video.name for video in select_videos(context.store, wanted)}
    embed_videos(context, names)
    frames = context.reading.view.frames
    places = frames.of_videos(list(names))
    return Selection(names, len(frames) if places is None else len(places), places)
