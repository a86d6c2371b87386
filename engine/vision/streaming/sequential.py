"""Strategies that encode frames one after another, each by what the frame before it left."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from engine.vision.backbone.tower import VisionTower
from engine.vision.streaming.call import Call
from engine.vision.streaming.driver import encode_streams
from engine.vision.streaming.schedule import Schedule
from engine.vision.streaming.stepper import Stepper, run_rounds
from engine.vision.streaming.strategy import Chunk, Encoded
from engine.vision.streaming.streams import GroupedState, Stream, plan, received

M = TypeVar("M")


class SequentialStepper(Stepper[M], Protocol):
    """A stepper that takes one frame of each stream at a time, and knows what it costs."""

    @property
    def tower(self) -> VisionTower:
        """The frozen backbone."""

    def macs(self, computed: Tensor, full: Tensor) -> Tensor:
        """Multiply-accumulates `[F]` of frames, by their computed tokens `[F, L]`."""

    def with_scale(self, scale: float) -> "SequentialStepper[M]":
        """Reuse more (above 1) or less; at 0 nothing."""


@dataclass(frozen=True, slots=True)
class Sequential(Generic[M]):
    """A full frame, then frame after frame; all streams of a call side by side."""

    stepper: SequentialStepper[M]
    name: str
    refresh: int = 0  # frames between full ones; 0: the first of a stream alone is full
    whole_streams: bool = field(default=False, init=False)

    @property
    def tower(self) -> VisionTower:
        """The frozen backbone."""
        return self.stepper.tower

    def with_scale(self, scale: float) -> "Sequential[M]":
        """Reuse more (above 1) or less; at 0 nothing."""
        return replace(self, stepper=self.stepper.with_scale(scale))

    @torch.inference_mode()
    def encode(self, chunks: Sequence[Chunk]) -> list[Encoded]:
        """Encode all frames of the chunks: none waits."""
        return encode_streams(self, chunks)

    def receive(self, chunks: Sequence[Chunk]) -> list[Stream[GroupedState[M], M]]:
        """Make a step of every frame."""
        schedule = Schedule(self.refresh, group=1)
        states = [received(self.tower, chunk, GroupedState)[0] for chunk in chunks]
        return [
            Stream(state, plan(schedule, state, last=chunk.last), chunk.last)
            for chunk, state in zip(chunks, states, strict=True)
        ]

    def run(self, streams: Sequence[Stream[GroupedState[M], M]], call: Call) -> Tensor:
        """Encode the frames, and count."""
        run_rounds(self.stepper, streams, call)
        return self.stepper.macs(call.computed, call.sent(call.full))
