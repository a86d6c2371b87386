"""The id of a row: a video and one of its sampled frames in one number that never changes."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ids = NDArray[np.int64]

_FRAME_BITS = 32
_FRAME_MASK = (1 << _FRAME_BITS) - 1


def pack(video_ids: ArrayLike, frames: ArrayLike) -> Ids:
    """Return the ids of frames: int64 `video_id << 32 | frame`; either may be a single number."""
    packed: Ids = (np.asarray(video_ids, np.int64) << _FRAME_BITS) | np.asarray(frames, np.int64)
    return packed


def videos_of(row_ids: ArrayLike) -> Ids:
    """Return the video of each row."""
    videos: Ids = np.asarray(row_ids, np.int64) >> _FRAME_BITS
    return videos


def frames_of(row_ids: ArrayLike) -> Ids:
    """Return the number of each row's frame within its video."""
    frames: Ids = np.asarray(row_ids, np.int64) & _FRAME_MASK
    return frames


def no_row(of: int) -> str:
    """Say that a row is not there."""
    return f"no row for frame {int(frames_of(of))} of video {int(videos_of(of))}"
