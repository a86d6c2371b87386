"""Every strategy at several settings over the same videos, on made-up or on natural clips."""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch

from engine.answering.head import shipped_reader
from engine.errors import UsageError
from engine.evaluation.compare import Comparison, Setting, encode_settings, world_points
from engine.evaluation.datasets.world import world_dataset
from engine.evaluation.encodings import Encodings, render_clips
from engine.evaluation.settings import chosen_settings, model_settings
from engine.evaluation.tasks import embed_dataset
from engine.vision.backbone.tower import VisionTower
from engine.vision.model import Model, load_model
from engine.world.clip import make_pool
from engine.world.scene import Clip
from engine.world.splits import Split

log = logging.getLogger(__name__)
STREAMS = {"cuda": 512, "cpu": 8}  # side by side


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
    processes: int = 1,
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
        processes: that encode side by side, a share of the clips each, and render it themselves.
        choose: makes the settings, dense first; None: all that there are for the model.
    """
    wanted = _Wanted(model, device, dtype, tuple(parts), rates, rates_model, tuple(only))
    loaded, settings = wanted.load() if choose is None else wanted.load_chosen(choose)
    pool = list(make_pool(split, clips, seed))
    place, began = loaded.device, time.perf_counter()
    if processes == 1:
        encodings = _encode(loaded, settings, pool, workers)
    elif choose is None:
        encodings = _encode_beside(wanted, pool, processes)
    else:
        raise UsageError("settings made by a function are encoded by one process")
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
    notes: tuple[str, ...] = (
        f"{clips:,} {split} clips, seed {seed}, {frames:,} frames at 2/s before coding; {precision}"
        f" on {where}; {'trained head' if reader else 'similarity'} answers",
    )
    if processes > 1:
        notes += (f"{processes} processes side by side, each with its share of the clips",)
    found = Comparison("The made-up world", notes, points)
    return found if place.type == "cpu" else found.untimed()  # plain PyTorch there


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a process needs to make the same settings as any other."""

    model: str
    device: str
    dtype: torch.dtype
    parts: tuple[Path, ...]
    rates: Path | None
    rates_model: str | None
    only: tuple[str, ...]

    def load(self) -> tuple[Model, list[Setting]]:
        """Load the model, and make all settings that there are for it or those asked for."""
        loaded = load_model(self.model, device=self.device, dtype=self.dtype)
        found = model_settings(loaded, self.parts, rates=self.rates, rates_model=self.rates_model)
        return loaded, chosen_settings(found, self.only)

    def load_chosen(
        self, choose: Callable[[VisionTower], list[Setting]]
    ) -> tuple[Model, list[Setting]]:
        """Load the model, and take the settings that a function makes."""
        loaded = load_model(self.model, device=self.device, dtype=self.dtype)
        return loaded, chosen_settings(choose(loaded.tower), self.only)


def _encode(
    model: Model, settings: Sequence[Setting], clips: Sequence[Clip], workers: int
) -> dict[str, Encodings]:
    size = model.tower.config.image_size
    frames = (pixels for _, pixels in render_clips(clips, size=size, workers=workers))
    return encode_settings(settings, frames, model.device, streams=STREAMS[model.device.type])


def _encode_share(wanted: _Wanted, clips: Sequence[Clip], threads: int) -> dict[str, Encodings]:
    """Encode a share of the clips in a process of its own."""
    torch.set_num_threads(threads)
    return _encode(*wanted.load(), clips, 0)


def _encode_beside(wanted: _Wanted, clips: Sequence[Clip], processes: int) -> dict[str, Encodings]:
    """Encode on so many processes at once; each has as many threads as this one, and no more."""
    shares = [clips[at::processes] for at in range(processes) if clips[at::processes]]
    encode = partial(_encode_share, wanted, threads=torch.get_num_threads())
    with ProcessPoolExecutor(len(shares), mp_context=get_context("spawn")) as pool:
        found = list(pool.map(encode, shares))
    for label, first in found[0].items():
        for other in found[1:]:
            first.add(other[label])
    return found[0]
