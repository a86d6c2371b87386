"""How much a video changes over its time, by the frames that are embedded of it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError
from engine.storage.store import Store

_BLOCK = 4096  # vectors in memory at a time


@dataclass(frozen=True, slots=True)
class Activity:
    """Of each stretch of a video that has embedded frames: the largest change in it."""

    duration_seconds: float | None
    seconds: list[float]  # of the frame that is least like the one before it
    change: list[float]  # 1 - cosine of the two


def activity_of(store: Store, video: int | str, points: int) -> Activity:
    """Compare each embedded frame with the one before it; of `points` stretches keep the most."""
    if points < 1:
        raise UsageError(f"points {points}; allowed: 1 or more")
    found, space = store.catalog.video(video), store.catalog.current_space()
    length = found.duration_seconds
    if space is None:
        return Activity(length, [], [])
    rows = store.rows(space.key, [found.video_id], ("row_id", "seconds"))
    seconds = rows.column("seconds").to_numpy()
    order = np.argsort(seconds, kind="stable")
    seconds, row_ids = seconds[order], rows.column("row_id").to_numpy()[order]
    if not len(seconds):
        return Activity(length, [], [])
    change = np.concatenate([[0.0], *_changes(store, space.key, row_ids)])
    step = max((length or float(seconds[-1])) / points, 1e-3)
    stretch = np.floor(seconds / step)
    kept = [
        int(part[np.argmax(change[part])])
        for part in np.split(np.arange(len(seconds)), np.flatnonzero(np.diff(stretch)) + 1)
    ][:points]
    return Activity(length, seconds[kept].tolist(), np.maximum(change[kept], 0.0).round(6).tolist())


def _changes(
    store: Store, space: str, row_ids: NDArray[np.int64]
) -> Iterator[NDArray[np.floating]]:
    """Yield, a block at a time, how far each vector but the first is from the one before it."""
    for start in range(0, len(row_ids) - 1, _BLOCK):
        vectors = store.vectors(space, row_ids[start : start + _BLOCK + 1])
        norms = np.linalg.norm(vectors, axis=1)
        products = np.einsum("nd,nd->n", vectors[1:], vectors[:-1])
        yield 1 - products / np.maximum(norms[1:] * norms[:-1], 1e-12)
