"""Decode once more the pictures of frames that are stored already."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.errors import NotFoundError, VideoError
from engine.ingesting.identify import stored_rate
from engine.ingesting.tasks import stored_source
from engine.storage.store import Store
from engine.video.sample import get_frames_at


def redecode(
    store: Store, space_key: str, video_id: int, frames: Sequence[int]
) -> list[NDArray[np.uint8]]:
    """Return the pictures of stored frames, by number, decoding each group of pictures once.

    Raises VideoError where the file has gone, has changed or no longer decodes.
    """
    source = stored_source(store, video_id, stored_rate(store, video_id, space_key) or 1.0)
    table = store.rows(space_key, [video_id], ["frame", "seconds"])
    numbers, times = (table.column(name).to_pylist() for name in ("frame", "seconds"))
    stored = dict(zip(numbers, times, strict=True))
    absent = [frame for frame in frames if frame not in stored]
    if absent:
        raise NotFoundError(f"{source.name} has no frame {absent[0]}; it has {len(stored)} rows")
    wanted = [stored[frame] for frame in frames]
    shown = dict(get_frames_at(source.path, wanted, gops=source.gops))
    lost = len(wanted) - len(shown)
    if lost:
        raise VideoError(
            f"{source.name}: {lost} of {len(wanted)} frames no longer decode", path=str(source.path)
        )
    return [shown[place].image for place in range(len(wanted))]
