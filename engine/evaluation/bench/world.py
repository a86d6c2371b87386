"""A pool of made-up clips with their dense vectors: what questions of truth are measured on."""

from collections.abc import Iterator

from engine.evaluation.encodings import Encodings, Pixels, encode, render_pool
from engine.vision.model import Model
from engine.vision.registry import build_strategy
from engine.world.scene import Clip
from engine.world.splits import Split


def dense_world(
    model: Model, split: Split, clips: int, seed: int, *, fps: float, workers: int
) -> tuple[list[Clip], Encodings]:
    """Make clips up and encode them in full."""
    pool: list[Clip] = []

    def pixels() -> Iterator[Pixels]:
        size = model.tower.config.image_size
        for clip, frames in render_pool(split, clips, seed, fps=fps, size=size, workers=workers):
            pool.append(clip)
            yield frames

    encodings = encode(build_strategy("dense", model.tower, space=model.space), pixels())
    return pool, encodings
