"""Which pictures stand for a row, and asking of them what is not known yet."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.cage.ending import check_awaited
from engine.operators.base import Context
from engine.search.inquiry import Asked, Sight
from engine.storage import row_id

Vectors = NDArray[np.float32]
_OF_A_SPAN: Final = 4  # pictures of a moment that are looked at
_AT_ONCE: Final = 8  # pictures that are held, and questions about them


def sights_of(rows: pa.Table, context: Context) -> list[Sight]:
    """Return what is looked at for each row: its frame, or some frames of its span."""
    videos = rows.column("video_id").to_numpy()
    if "frame" in rows.schema.names:
        frames = rows.column("frame").to_pylist()
        return [
            Sight(video, (frame,)) for video, frame in zip(videos.tolist(), frames, strict=True)
        ]
    spans = np.stack([rows.column(f"{n}_seconds").to_numpy() for n in ("start", "stop", "peak")], 1)
    found: list[Sight | None] = [None] * len(rows)
    for video in np.unique(videos).tolist():
        own = context.reading.view.frames
        places = own.of_videos([video])
        frames = own.table(["frame", "seconds"], places).sort_by("seconds")
        numbers, seconds = (frames.column(name).to_numpy() for name in ("frame", "seconds"))
        for at in np.flatnonzero(videos == video).tolist():
            start, stop, peak = spans[at]
            within = np.flatnonzero((seconds >= start) & (seconds < stop))
            best = int(np.abs(seconds - peak).argmin())
            shown = sorted({best, *_spread(within, _OF_A_SPAN - 1)})
            found[at] = Sight(video, tuple(numbers[shown].tolist()))
    return [each for each in found if each is not None]


def _spread(places: NDArray[np.int64], count: int) -> list[int]:
    """Return at most so many places, from the first to the last."""
    picked = np.linspace(0, len(places) - 1, min(count, len(places))).round().astype(int)
    return [int(place) for place in places[picked]]


def look_at(context: Context, asked: Iterable[Asked]) -> int:
    """Ask what is not known yet, some of it at a time; return how much that was."""
    fresh = sorted({each for each in asked if each not in context.looked}, key=_order)
    some: list[Asked] = []
    held: set[tuple[int, int]] = set()  # pictures
    for each in fresh:
        sight = each[0]
        pictures = {(sight.video_id, frame) for frame in sight.frames}
        if some and (len(held | pictures) > _AT_ONCE or len(some) >= _AT_ONCE):
            _look(context, some)
            some, held = [], set()
        some.append(each)
        held |= pictures
    _look(context, some)
    return len(fresh)


def _order(asked: Asked) -> tuple[Sight, str]:
    return asked[0], str(asked[1])


def _look(context: Context, asked: Sequence[Asked]) -> None:
    if asked:
        check_awaited()
        context.looked.update(zip(asked, context.look(asked), strict=True))


def best_frames(
    sights: Sequence[Sight], sought: Vectors, context: Context
) -> tuple[Vectors, NDArray[np.float64]]:
    """Return of each sight the vector `[E]` of its frame that a text fits best, and its score."""
    vectors, sizes = vectors_of(sights, context)
    scores = (vectors @ sought).astype(np.float64)
    if len(vectors) == len(sights):
        return vectors, scores
    starts = np.cumsum(sizes) - sizes
    best = np.array(
        [
            start + int(scores[start : start + size].argmax())
            for start, size in zip(starts.tolist(), sizes.tolist(), strict=True)
        ],
        np.int64,
    )
    return vectors[best], scores[best]


def vectors_of(sights: Sequence[Sight], context: Context) -> tuple[Vectors, NDArray[np.int64]]:
    """Return the vectors `[F, E]` of all frames of sights in their order, and how many of each."""
    sizes = np.array([len(each.frames) for each in sights], np.int64)
    videos = np.repeat(np.array([each.video_id for each in sights], np.int64), sizes)
    frames = np.array([frame for each in sights for frame in each.frames], np.int64)
    return context.reading.rows.vectors(row_id.pack(videos, frames)), sizes
