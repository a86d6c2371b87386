"""Clips of the made-up world as a model's vectors, encoded once for every head that reads them."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file
from torch.nn import functional as F

from engine.answering.choose import statements
from engine.training.fit import FitPlan
from engine.vision.model import Model
from engine.vision.registry import build_strategy
from engine.vision.streaming.strategy import Chunk, Strategy
from engine.world.ahead import render_ahead
from engine.world.clip import make_pool
from engine.world.render import instants
from engine.world.scene import Clip
from engine.world.splits import Split

SHARE = 16  # clips of one file
SIDE_BY_SIDE = {"cuda": 256, "cpu": 8}  # clips encoded at once


@dataclass(frozen=True, slots=True)
class WorldPool:
    """Which clips: those of `make_pool`, at so many frames a second."""

    split: Split
    clips: int
    seed: int
    fps: float = 2.0


@dataclass(frozen=True, slots=True)
class HeadPlan:
    """What a head learns from, what it is scored on, and how it is fitted."""

    pool: WorldPool
    validation: WorldPool
    fitting: FitPlan

    @classmethod
    def usual(cls, clips: int, validation: int, steps: int, rate: float, seed: int) -> "HeadPlan":
        """So many clips to learn from; validation is on others, of the split `val`."""
        pool = WorldPool("train", clips, seed)
        held_out = replace(pool, split="val", clips=validation)
        return cls(pool, held_out, FitPlan(steps, rate, seed=seed))


@dataclass(frozen=True, slots=True)
class ClipVectors:
    """A clip, and unit vectors of its frames and its texts."""

    clip: Clip
    seconds: NDArray[np.float64]  # [F]
    frames: NDArray[np.float16]  # [F, E]
    caption: NDArray[np.float16]  # [E]
    statements: NDArray[np.float16]  # [S, E], of all its questions' choices, in their order


def world_vectors(
    model: Model, pool: WorldPool, *, workers: int = 0, keep: Path | None = None
) -> Iterator[ClipVectors]:
    """Encode a pool densely, in order.

    With `keep`, a folder, each few clips are a file there, which a later call with the same model
    and pool reads in place of encoding.
    """
    clips = make_pool(pool.split, pool.clips, pool.seed)
    number = 0
    while share := list(islice(clips, SHARE)):
        card = _card(model, pool, share)
        name = f"{pool.split}-{pool.seed}-{number:04}.safetensors"
        path = None if keep is None else keep / name
        arrays = None if path is None else _read(path, card)
        if arrays is None:
            arrays = _encode(model, share, pool.fps, workers)
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                unfinished = path.with_suffix(".part")
                save_file(arrays, unfinished, card)
                unfinished.replace(path)
        yield from _split(share, arrays, pool.fps)
        number += 1


def _card(model: Model, pool: WorldPool, share: list[Clip]) -> dict[str, str]:
    told = asdict(pool) | {"clips": len(share), "names": [clip.name for clip in share]}
    return {"weights": model.space.weight_hash, "pool": json.dumps(told, sort_keys=True)}


def _read(path: Path, card: dict[str, str]) -> dict[str, NDArray[np.float16]] | None:
    """What a file holds, if it is of this card; a damaged one is made again."""
    try:
        with safe_open(path, framework="np") as file:
            if file.metadata() != card:
                return None
        return load_file(path)
    except (OSError, SafetensorError):
        return None


def _encode(
    model: Model, share: list[Clip], fps: float, workers: int
) -> dict[str, NDArray[np.float16]]:
    """Vectors of frames, captions and statements of some clips, one after the other."""
    dense, size = build_strategy("dense", model.tower), model.tower.config.image_size
    frames = []
    rendered = render_ahead(share, fps=fps, size=size, workers=workers)
    while batch := list(islice(rendered, SIDE_BY_SIDE[model.device.type])):
        frames += unit_vectors(dense, chunks(model, (planes for _, planes in batch)))
    texts = [text for clip in share for text in _statements(clip)]
    return {
        "frames": np.concatenate(frames),
        "captions": model.embed_texts([clip.caption for clip in share]).astype(np.float16),
        "statements": model.embed_texts(texts).astype(np.float16),
    }


def chunks(model: Model, clips: Iterable[NDArray[np.uint8]]) -> list[Chunk]:
    """Put rendered clips on the model's device, each whole."""
    return [Chunk(torch.from_numpy(planes).to(model.device), last=True) for planes in clips]


def unit_vectors(strategy: Strategy, clips: Sequence[Chunk]) -> list[NDArray[np.float16]]:
    """Unit vectors `[F, E]` of each clip's frames, in half precision."""
    return [
        F.normalize(found.embeddings.float(), dim=-1).half().cpu().numpy()
        for found in strategy.encode(clips)
    ]


def _split(
    share: list[Clip], arrays: dict[str, NDArray[np.float16]], fps: float
) -> Iterator[ClipVectors]:
    frames, told = iter(arrays["frames"]), iter(arrays["statements"])
    for clip, caption in zip(share, arrays["captions"], strict=True):
        seconds = instants(clip, fps)
        own = np.stack(list(islice(frames, len(seconds))))
        asked = np.stack(list(islice(told, len(_statements(clip)))))
        yield ClipVectors(clip, seconds, own, caption, asked)


def _statements(clip: Clip) -> list[str]:
    asked = clip.questions
    return [text for each in asked for text in statements(each.text, each.choices)]
