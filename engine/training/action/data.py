"""Made-up clips as one array, rendered by several processes, and the same clips mirrored."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.world.action import DURATION, LABELS, make_action
from engine.world.draw import Draw
from engine.world.splits import Split

MOTIONS = tuple(LABELS)
# what a motion becomes when a clip is mirrored, stood on its head, or played backwards
MIRRORED = {"left": "right", "right": "left"}
TURNED = {"up": "down", "down": "up"}
REVERSED = {**MIRRORED, **TURNED, "grow": "shrink", "shrink": "grow"}


def render_pool(
    split: Split, clips: int, seed: int, *, frames: int, fps: float, size: int, workers: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Clips `[n, F, 3, S, S]` and the places of their motions, equally many of each in the mean."""
    draw = Draw("pool", seed)
    seeds = [draw.below(1 << 40) for _ in range(clips)]
    one = partial(_render, split, frames, fps, size)
    if workers < 1:
        made = list(map(one, seeds))
    else:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            made = list(pool.map(one, seeds, chunksize=64))
    return np.stack([pixels for pixels, _ in made]), np.array([motion for _, motion in made])


def _render(
    split: Split, frames: int, fps: float, size: int, seed: int
) -> tuple[NDArray[np.uint8], int]:
    clip = make_action(seed, split)
    room = DURATION - round(1000 * frames / fps)
    start = Draw("start", seed).below(room)
    return clip.render(start, frames, fps, size), MOTIONS.index(clip.motion)


def batches(
    clips: Tensor, motions: Tensor, size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Go through a pool once, in random order, each clip in one of its eight mirrored forms."""
    order = torch.randperm(len(clips), generator=generator)
    for picked in order.split(size):
        taken, meant = clips[picked.to(clips.device)], motions[picked.to(motions.device)]
        for axis, becomes in ((4, MIRRORED), (3, TURNED), (1, REVERSED)):
            flip = (torch.rand(len(picked), generator=generator) < 0.5).to(clips.device)
            shape = (-1, 1, 1, 1, 1)
            taken = torch.where(flip.view(shape), taken.flip(axis), taken)
            meant = torch.where(flip, _table(becomes).to(meant.device)[meant], meant)
        yield taken, meant


def _table(becomes: dict[str, str]) -> Tensor:
    return torch.tensor([MOTIONS.index(becomes.get(name, name)) for name in MOTIONS])
