"""Which videos and frames a query looks at."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import NotFoundError, UsageError
from engine.search.context import SearchContext
from engine.search.missing import embed_videos
from engine.storage.records import Video
from engine.storage.store import Store


@dataclass(frozen=True, slots=True)
class Selection:
    """Videos by id with their names; `allowed` rows, or None for all there are."""

    names: Mapping[int, str]
    count: int  # of frames
    allowed: NDArray[np.int64] | None


def select_videos(store: Store, wanted: Sequence[int | str] | None) -> list[Video]:
    """Return the videos with these ids, names or globs; each must mean at least one."""
    if wanted is None:
        return store.catalog.videos()
    if isinstance(wanted, str | int):  # else a name would be read letter by letter
        raise UsageError(f"videos is {wanted!r}; allowed: a list of ids, names and globs")
    found: dict[int, Video] = {}
    for item in wanted:
        if isinstance(item, str) and re.search(r"[*?\[]", item):
            matching = store.catalog.videos(item)
            if not matching:
                raise NotFoundError(f"no stored video's name matches {item!r}")
        else:
            matching = [store.catalog.video(item)]
        found |= {video.video_id: video for video in matching}
    return list(found.values())


def select_frames(context: SearchContext, wanted: Sequence[int | str] | None) -> Selection:
    """Return the frames of the wanted videos, embedding those that have none yet."""
    videos = select_videos(context.store, wanted)
    names = {video.video_id: video.name for video in videos}
    context.store.load_index(context.space)  # what is damaged is found now, and counts as missing
    embed_videos(context, names)
    ids = None if wanted is None else list(names)
    rows = context.store.rows(context.space, ids, ["row_id"]).column("row_id").to_numpy()
    return Selection(names, len(rows), None if wanted is None else rows)
