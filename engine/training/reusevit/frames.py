"""Where training frames come from: the made-up world, memory, or anything with `windows`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
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


@dataclass(frozen=True, slots=True)
class EachOf:
    """What one of several processes takes: each so many-th."""

    rank: int = 0
    of: int = 1

    def has(self, number: int) -> bool:
        """Whether it is its own."""
        return number % self.of == self.rank


WHOLE = EachOf()


class FrameSource(Protocol):
    """Videos to learn from, cut into windows."""

    def windows(self, span: int, epoch: int) -> Iterator[Window]:
        """Windows of `span` frames; the same ones in the same order for the same epoch."""

    def shared(self, share: EachOf) -> "FrameSource":
        """Return the source of one of several processes, which makes its own windows alone."""


@dataclass(frozen=True, slots=True)
class StoredFrames:
    """Windows held in memory, shuffled anew each epoch."""

    pixels: Tensor  # uint8 [W, F, 3, S, S]
    seed: int = 0
    turned: bool = False  # each pass anew, half of them mirrored and half of them backwards
    share: EachOf = WHOLE

    def shared(self, share: EachOf) -> "StoredFrames":
        """Return a share of each pass."""
        return replace(self, share=share)

    def windows(self, span: int, epoch: int) -> Iterator[Window]:
        """All windows, cut to `span` frames."""
        draw = torch.Generator().manual_seed(self.seed * 1009 + epoch)
        order = torch.randperm(len(self.pixels), generator=draw).tolist()
        turns = torch.randint(0, 2, (len(order), 2), generator=draw).tolist()
        for number, (at, (mirror, backwards)) in enumerate(zip(order, turns, strict=True)):
            axes = [-1] * mirror + [0] * backwards if self.turned else []
            if self.share.has(number):
                yield Window(self.pixels[at, :span].flip(axes))


@dataclass(frozen=True, slots=True)
class WorldFrames:
    """Windows of made-up clips, each of a clip of its own."""

    clips: int  # a pass
    size: int  # of a frame, in pixels
    split: Split = "train"
    seed: int = 0
    fps: float = 2.0
    fresh: bool = True  # other clips each epoch
    share: EachOf = WHOLE

    def shared(self, share: EachOf) -> "WorldFrames":
        """Return a share of each pass."""
        return replace(self, share=share)

    def windows(self, span: int, epoch: int) -> Iterator[Window]:
        """Render one window after the other."""
        for number, job in enumerate(self._jobs(span, epoch)):
            if self.share.has(number):
                yield Window(torch.from_numpy(_render(job)))

    def _jobs(self, span: int, epoch: int) -> "list[_Job]":
        draw = Draw("reuse", self.seed, epoch if self.fresh else 0)
        return [
            _Job(draw.below(1 << 40), self.split, span, self.fps, self.size)
            for _ in range(self.clips)
        ]


@dataclass(frozen=True, slots=True)
class _Job:
    seed: int
    split: Split
    span: int
    fps: float
    size: int


def _render(job: _Job) -> npt.NDArray[np.uint8]:
    """Render a window that starts anywhere in its clip."""
    draw = Draw("window", job.seed)
    length = round(job.span / job.fps * TICKS)
    spare = draw.below(8 * TICKS)
    clip = make_clip(job.seed, job.split, duration_seconds=(length + spare) / TICKS + 0.5)
    start = draw.below(spare + 1)
    ticks = [start + round(number / job.fps * TICKS) for number in range(job.span)]
    return np.stack([render_planes(clip.script, tick, job.size) for tick in ticks])
