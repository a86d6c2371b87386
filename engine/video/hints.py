"""What the codec says about change: block types, motion vectors and quantisers, as maps."""

from typing import Literal, cast

import numpy as np
from av.sidedata.encparams import VideoEncParams
from av.sidedata.motionvectors import MotionVectors
from numpy.typing import NDArray

from engine.errors import UnsupportedCodecError
from engine.video.decode import Frame

CHANNELS = 4  # block type, motion across and down in cells of the map, quantiser
BLOCK = 16  # pixels along a macroblock
SAMPLES = 4  # points along a cell that are averaged
UNPREDICTED, SKIPPED, WHOLE, HALVES, QUARTERS = 6, 1, 2, 3, 4  # block types


def codec_hints(
    frame: Frame, side: int, *, fit: Literal["crop", "squash", "pad", "fit"] = "crop"
) -> NDArray[np.float32]:
    """Maps `[4, side, side]` of a frame that was decoded with cues, upright.

    They cover the centre square (`crop`), the whole picture (`squash`, `fit`) or more (`pad`), as
    preprocessing does.
    Motion points from where a block was to where it is. A block without a vector counts as intra
    coded in an I picture and as skipped in others: the decoder does not tell the two apart.
    """
    parameters = cast(VideoEncParams | None, frame.raw.side_data.get("VIDEO_ENC_PARAMS"))
    if parameters is None or not parameters.nb_blocks:
        raise UnsupportedCodecError(
            "no codec cues in this frame; allowed: H.264, MPEG-2 and MPEG-4 video decoded with cues"
        )
    quantiser = parameters.qp_map()
    kinds, motion = _blocks(frame, quantiser.shape)
    blocks = np.stack([kinds, *motion, quantiser]).astype(np.float32)  # [4, rows, columns]
    height, width = frame.raw.height, frame.raw.width
    edge = max(height, width) if fit == "pad" else min(height, width)
    tall, wide = (height, width) if fit in ("squash", "fit") else (edge, edge)
    rows = _places((height - tall) / 2, tall, side)
    columns = _places((width - wide) / 2, wide, side)
    fine = blocks[:, rows[:, None], columns]
    maps = fine.reshape(CHANNELS, side, SAMPLES, side, SAMPLES).mean((2, 4))
    maps[0] = fine[0].reshape(side, SAMPLES, side, SAMPLES).max((1, 3))
    maps[1] *= side / wide
    maps[2] *= side / tall
    maps[1:3] = frame.turn.apply_vectors(maps[1:3])
    return np.ascontiguousarray(frame.turn.apply(maps.transpose(1, 2, 0)).transpose(2, 0, 1))


def _places(start: float, extent: float, side: int) -> NDArray[np.intp]:
    """Blocks in which the sample points along an edge lie."""
    points = start + (np.arange(side * SAMPLES) + 0.5) * extent / (side * SAMPLES)
    return (points // BLOCK).astype(np.intp)


def _blocks(
    frame: Frame, shape: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Type `[rows, columns]` and mean displacement `[2, rows, columns]` in pixels per block."""
    found: MotionVectors | None = frame.raw.side_data.get("MOTION_VECTORS")
    kinds = np.full(shape, UNPREDICTED if frame.picture == "I" else SKIPPED, np.float64)
    motion = np.zeros((2, *shape))
    if found is None or not len(found):
        return kinds, motion
    vectors = found.to_ndarray()
    rows = np.clip(vectors["dst_y"] // BLOCK, 0, shape[0] - 1)
    columns = np.clip(vectors["dst_x"] // BLOCK, 0, shape[1] - 1)
    area = vectors["w"].astype(np.float64) * vectors["h"]
    # a reference that comes later points the other way
    sign = np.where(vectors["source"] < 0, -1.0, 1.0) / np.maximum(vectors["motion_scale"], 1)
    weight = np.zeros(shape)
    np.add.at(weight, (rows, columns), area)
    for axis, name in enumerate(("motion_x", "motion_y")):
        np.add.at(motion[axis], (rows, columns), vectors[name] * sign * area)
    motion /= np.maximum(weight, 1)
    split = np.select([area >= BLOCK * BLOCK, area >= BLOCK * BLOCK / 2], [WHOLE, HALVES], QUARTERS)
    kinds[weight > 0] = WHOLE
    np.maximum.at(kinds, (rows, columns), split)
    return kinds, motion
