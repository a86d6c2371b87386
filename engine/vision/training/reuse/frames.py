"""Where training frames come from: the made-up world, memory, or anything with `windows`."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from engine.world.clip import make_clip
from engine.world.draw import Draw
from engine.world.render import render_planes
from engine.world.scene import TICKS
from engine.world.splits import Split


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive sampled frames of one video."""

    pixels: Tensor  # uint8 [F, 3, S, S]
    cues: Tensor | None = None  # raw codec cues [F, 4, side, side]


class FrameSource(Protocol):
    """Videos to learn from, cut into windows."""

    def windows(self, span: int, epoch: int) -> Iterator[Window]:
        """Windows of `span` frames; the same ones in the same order for the same epoch."""


@dataclass(frozen=True, slots=True)
class StoredFrames:
    """Windows held in memory, shuffled anew each epoch."""

    pixels: Tensor  # uint8 [W, F, 3, S, S]
    seed: int = 0

    def windows(self, span: int, epoch: int) -> Iterator[Window]:
        """All windows, cut to `span` frames."""
        order = torch.Generator().manual_seed(self.seed * 1009 + epoch)
        for at in torch.randperm(len(self.pixels), generator=order).tolist():
            yield Window(self.pixels[at, :span])


@dataclass(frozen=True, slots=True)
class WorldFrames:
    """Windows of made-up clips, each of a clip of its own, rendered as they are asked for."""

    clips: int  # a pass
    size: int  # of a frame, in pixels
    split: Split = "train"
    seed: int = 0
    fps: float = 2.0
    workers: int = 0  # processes; 0 renders in this one
    fresh: bool = True  # other clips each epoch

    def windows(self, span: int, epoch: int) -> Iterator[Window]:
        """Render one window after the other."""
        draw = Draw("reuse", self.seed, epoch if self.fresh else 0)
        jobs = [
            _Job(draw.below(1 << 40), self.split, span, self.fps, self.size)
            for _ in range(self.clips)
        ]
        if not self.workers:
            yield from (Window(torch.from_numpy(_render(job))) for job in jobs)
            return
        waiting = iter(jobs)
        with ProcessPoolExecutor(self.workers, mp_context=get_context("spawn")) as pool:
            while batch := list(islice(waiting, 16 * self.workers)):
                for pixels in pool.map(_render, batch, chunksize=4):
                    yield Window(torch.from_numpy(pixels))


@dataclass(frozen=True, slots=True)
class _Job:
    seed: int
    split: Split
    span: int
    fps: float
    size: int


def _render(job: _Job) -> np.ndarray:
    """Render a window that starts anywhere in its clip."""
    draw = Draw("window", job.seed)
    length = round(job.span / job.fps * TICKS)
    spare = draw.below(8 * TICKS)
    clip = make_clip(job.seed, job.split, duration_seconds=(length + spare) / TICKS + 0.5)
    start = draw.below(spare + 1)
    ticks = [start + round(number / job.fps * TICKS) for number in range(job.span)]
    return np.stack([render_planes(clip.script, tick, job.size) for tick in ticks])


def load_windows(source: FrameSource, span: int, epoch: int = 0) -> Tensor:
    """All windows of one pass as one tensor `[W, F, 3, S, S]`."""
    return torch.stack([window.pixels for window in source.windows(span, epoch)])
