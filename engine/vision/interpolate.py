"""Every k-th frame in full, the others on straight lines between their vectors: a baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.errors import UsageError
from engine.vision.backbone.macs import dense_macs
from engine.vision.backbone.space import Space
from engine.vision.backbone.tower import VisionTower
from engine.vision.streaming.call import Call
from engine.vision.streaming.dense import Dense, build_dense
from engine.vision.streaming.driver import encode_streams
from engine.vision.streaming.options import StrategyOptions
from engine.vision.streaming.schedule import Schedule
from engine.vision.streaming.strategy import (
    Buildable,
    Chunk,
    Encoded,
    check_untrained,
)
from engine.vision.streaming.streams import GroupedState, Stream, plan, received

State = GroupedState[Tensor]  # the memory is the vector of the last frame encoded


@dataclass(frozen=True, slots=True)
class Interpolate:
    """Encode frames 0, `every`, 2 · `every`, … and the last of a stream; interpolate the others."""

    tower: VisionTower
    every: int = 2
    dense: Dense | None = None  # that encodes; None: the plain one
    name: str = "interpolate"
    whole_streams: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UsageError(f"every must be at least 1, got {self.every}")

    def with_scale(self, scale: float) -> "Interpolate":
        """Multiply the distance between encoded frames, rounded down; 1 is dense."""
        return replace(self, every=max(1, int(self.every * scale)))

    @torch.inference_mode()
    def encode(self, chunks: Sequence[Chunk]) -> list[Encoded]:
        """Encode the key frames of all chunks together; frames wait for the key after them."""
        return encode_streams(self, chunks)

    def receive(self, chunks: Sequence[Chunk]) -> list[Stream[State, Tensor]]:
        """Group each stream's frames, so that every group ends with a key frame."""
        states = [received(self.tower, chunk, GroupedState)[0] for chunk in chunks]
        schedule = Schedule(group=self.every)
        return [
            Stream(state, plan(schedule, state, last=chunk.last), chunk.last)
            for chunk, state in zip(chunks, states, strict=True)
        ]

    def run(self, streams: Sequence[Stream[State, Tensor]], call: Call) -> Tensor:
        """Encode the last frame of each group; stand the others on the lines between."""
        config, firsts = self.tower.config, call.first[:-1].tolist()
        keys = [np.cumsum([step.size for step in stream.steps]) - 1 for stream in streams]
        numbers = [at + each.astype(np.int64) for at, each in zip(firsts, keys, strict=True)]
        rows = np.concatenate([np.zeros(0, np.int64), *numbers])
        call.full[rows] = True
        picked = call.sent(rows)
        vectors = (self.dense or Dense(self.tower)).embed(call.pixels.index_select(0, picked))
        call.computed[picked] = config.tokens
        known = vectors.split([len(each) for each in keys])
        for stream, at, places, own in zip(streams, firsts, keys, known, strict=True):
            self._draw(stream, places.tolist(), own, call.embeddings[at : at + stream.done])
        return call.sent(call.full).double() * dense_macs(config)

    def _draw(
        self, stream: Stream[State, Tensor], places: list[int], known: Tensor, out: Tensor
    ) -> None:
        """Write the vectors of a stream's frames; keep the last key's for those to come."""
        if not places:
            return
        if stream.memory is not None:
            places, known = [-1, *places], torch.cat([stream.memory[None], known])
        out.copy_(_lines(places, known, len(out)))
        stream.memory = known[-1].clone()


def _lines(places: Sequence[int], known: Tensor, done: int) -> Tensor:
    """Vectors of frames 0 to `done`, on straight lines between those known at `places`."""
    bounds = torch.tensor(places, device=known.device)
    frames = torch.arange(done, device=known.device)
    right = torch.searchsorted(bounds, frames).clamp(max=len(places) - 1)
    left = (right - 1).clamp(min=0)
    span = (bounds[right] - bounds[left]).clamp(min=1)
    weight = ((frames - bounds[left]) / span).to(known.dtype)[:, None]
    return known[left] + (known[right] - known[left]) * weight


def build_interpolate(
    tower: VisionTower, space: Space | None, parts: Path | None, options: Mapping[str, Any]
) -> Interpolate:
    """Build it; the option is `every`."""
    check_untrained("interpolate", parts)
    given = StrategyOptions.of("interpolate", options, ("every",))
    dense = build_dense(tower, space, None, {})
    return Interpolate(tower, given.count("every", 2, least=1), dense)


INTERPOLATE = Buildable(build_interpolate)
