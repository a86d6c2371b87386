"""Which videos and frames a query looks at."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import NotFoundError, check_videos
from engine.search.context import SearchContext
from engine.search.missing import embed_videos
from engine.storage.records import Video
from engine.storage.snapshot import members
from engine.storage.store import Store
from engine.storage.view import Places

_IDS = range(1, 1 << 63)  # that videos may have


@dataclass(frozen=True, slots=True, eq=False)
class NamedVideos(Mapping[int, str]):
    """The names of some of the videos: of many, only those asked for are looked up."""

    ids: NDArray[np.int64]  # rising
    names: Mapping[int, str]  # of all videos

    def __getitem__(self, video_id: int) -> str:
        if not members(np.array([video_id]), self.ids)[0]:
            raise KeyError(video_id)
        return self.names[video_id]

    def __iter__(self) -> Iterator[int]:
        return iter(self.ids.tolist())

    def __len__(self) -> int:
        return len(self.ids)


def ids_in(videos: Collection[int]) -> NDArray[np.int64]:
    """Return the ids of some videos, rising."""
    if isinstance(videos, NamedVideos):
        return videos.ids
    return np.sort(np.fromiter(videos, np.int64, len(videos)))


@dataclass(frozen=True, slots=True)
class Selection:
    """Videos by id with their names; the places of their rows, or None for all there are."""

    names: Mapping[int, str]
    count: int  # of frames
    places: Places | None
    whole: bool  # whether none of the store's videos is left out

    @property
    def listed(self) -> NDArray[np.int64] | None:
        """The videos' ids, rising, or None where it is all of them."""
        return None if self.whole else ids_in(self.names)


def select_videos(store: Store, wanted: Sequence[int | str] | None) -> list[Video]:
    """Return the videos with these ids, names or globs; each must mean at least one."""
    if wanted is None:
        return store.catalog.videos()
    return store.catalog.videos_of(list(select_names(store, wanted)))


def select_names(
    store: Store, wanted: Sequence[int | str] | NDArray[np.int64]
) -> Mapping[int, str]:
    """Return the names of the videos with these ids, names or globs, as `select_videos` does.

    Of ids in an array, rising, those are left out that are gone.
    """
    if isinstance(wanted, np.ndarray):
        names = store.catalog.video_names()
        known = np.fromiter(names, np.int64, len(names))
        return NamedVideos(wanted[members(wanted, known)], names)
    check_videos(wanted)
    ids = [int(item) for item in wanted if not isinstance(item, str)]
    possible = [each for each in ids if each in _IDS]
    found = store.catalog.names_of(possible) if possible else {}
    if len(found) < len(set(ids)):
        store.catalog.require(min(set(ids) - found.keys()))
    for item in wanted:
        if not isinstance(item, str):
            continue
        if re.search(r"[*?\[]", item):
            matching = store.catalog.video_ids(item)
            if not matching:
                raise NotFoundError(f"no stored video's name matches {item!r}")
        else:
            matching = [store.catalog.video(item).video_id]
        found |= store.catalog.names_of([each for each in matching if each not in found])
    return found


def found_of(
    store: Store, wanted: Sequence[int | str]
) -> tuple[NDArray[np.int64], list[int | str]]:
    """Return the videos that are here, rising, and what of ids, names and globs means none."""
    check_videos(wanted)
    ids: set[int] = set()
    absent: list[int | str] = []
    for item in wanted:
        try:
            ids |= set(select_names(store, [item]))
        except NotFoundError:
            absent.append(item)
    return np.array(sorted(ids), np.int64), absent


def select_frames(
    context: SearchContext, wanted: Sequence[int | str] | NDArray[np.int64] | None
) -> Selection:
    """Return the frames of the wanted videos, embedding those that have none yet."""
    if wanted is None:
        embed_videos(context, None)
        view = context.reading.view  # others may have brought videos in since
        return Selection(view.names, len(view.frames), None, whole=True)
    names = select_names(context.store, wanted)
    ids = ids_in(names)
    embed_videos(context, ids)
    frames = context.reading.view.frames
    places = frames.of_videos(ids)
    count = len(frames) if places is None else len(places)
    return Selection(names, count, places, whole=False)
