"""A clip to time decoding and ingesting on where no video was given."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.video.write import write_h264


def write_moving(
    path: Path, seconds: float, *, size: tuple[int, int] = (360, 640), fps: int = 30, seed: int = 0
) -> Path:
    """Write a textured picture that pans, with grain: neither free to decode nor all noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_h264(path, _frames(round(seconds * fps), size, seed), fps, gop=4 * fps, threads=0)
    return path


def _frames(count: int, size: tuple[int, int], seed: int) -> Iterator[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    height, width = size
    coarse = rng.integers(30, 220, (height // 16 + 2, width // 16 + 32, 3), dtype=np.uint8)
    wide = coarse.repeat(16, 0).repeat(16, 1)
    grain = rng.integers(0, 6, (4, height, width, 1), dtype=np.uint8)
    for number in range(count):
        left = 4 * number % (wide.shape[1] - width)
        yield wide[:height, left : left + width] + grain[number % len(grain)]
