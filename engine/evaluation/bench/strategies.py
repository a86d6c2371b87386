"""Every strategy at several settings over the same videos, on made-up or on natural clips."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from engine.answering.head import shipped_reader
from engine.evaluation.compare import Comparison, Setting, encode_settings, world_points
from engine.evaluation.datasets.world import world_dataset
from engine.evaluation.encodings import Pixels, render_pool
from engine.evaluation.settings import chosen_settings, model_settings
from engine.evaluation.tasks import embed_dataset
from engine.vision.backbone.tower import VisionTower
from engine.vision.model import load_model
from engine.world.scene import Clip
from engine.world.splits import Split

log = logging.getLogger(__name__)
STREAMS = {"cuda": 256, "cpu": 8}  # side by side


def run(
    *,
    model: str = "builtin",
    device: str = "auto",
    dtype: torch.dtype = torch.float32,
    clips: int = 200,
    seed: int = 7,
    split: Split = "test",
    parts: Sequence[Path] = (),
    rates: Path | None = None,
    rates_model: str | None = None,
    only: Sequence[str] = (),
    workers: int = 2,
    choose: Callable[[VisionTower], list[Setting]] | None = None,
) -> Comparison:
    """Compare on a pool of made-up clips.

    Args:
        model: a built-in, local or hub model.
        device: where it runs.
        dtype: of the towers; on a GPU half precision takes the fused forwards.
        clips: size of the pool.
        seed: of the pool.
        split: settings are chosen on `val`, and reported once on `test`.
        only: families or settings; none: all.
        rates: DiffRate's lists; those of `rates_model` are taken.
        rates_model: whose lists.
        parts: files of gates and reuse modules besides the shipped ones.
        workers: processes that render.
        choose: makes the settings, dense first; None: all that there are for the model.
    """
    loaded = load_model(model, device=device, dtype=dtype)
    if choose:
        settings = choose(loaded.tower)
    else:
        settings = model_settings(loaded, parts, rates=rates, rates_model=rates_model)
    settings = chosen_settings(settings, only)
    pool: list[Clip] = []

    def videos() -> Iterator[Pixels]:
        size = loaded.tower.config.image_size
        for clip, frames in render_pool(split, clips, seed, size=size, workers=workers):
            pool.append(clip)
            yield frames

    place, began = loaded.device, time.perf_counter()
    encodings = encode_settings(settings, videos(), place, streams=STREAMS[place.type])
    log.debug("%d settings encoded in %.1f s", len(settings), time.perf_counter() - began)
    dataset = world_dataset(pool)
    texts = embed_dataset(dataset, loaded.embed_texts)
    reader = shipped_reader(loaded)
    points = list(world_points(settings, encodings, dataset, texts, reader))
    log.debug("scored after %.1f s", time.perf_counter() - began)
    frames = next(iter(encodings.values())).num_frames
    told = torch.get_num_threads() if place.type == "cpu" else torch.cuda.get_device_name(place)
    where = f"{told} threads of a CPU" if place.type == "cpu" else f"one {told}"
    precision = str(dtype).removeprefix("torch.")
    notes = (
        f"{clips:,} {split} clips, seed {seed}, {frames:,} frames at 2/s before coding; {precision}"
        f" on {where}; {'trained head' if reader else 'similarity'} answers",
    )
    return Comparison("The made-up world", notes, points)
