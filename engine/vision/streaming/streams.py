"""A stream while a call works on it, and what is kept of it between calls."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from engine.errors import UsageError
from engine.vision.backbone.tower import VisionTower
from engine.vision.streaming.schedule import PlannedStep, Schedule, since_full
from engine.vision.streaming.strategy import Chunk, StreamState

M = TypeVar("M")


@dataclass(slots=True)
class GroupedState(StreamState, Generic[M]):
    """What is kept of a stream whose frames are encoded in groups."""

    since: int | None = None  # frames since the last full one; None before the first
    memory: M | None = None  # what its last group left for the next


S = TypeVar("S", bound=GroupedState[Any])


@dataclass(slots=True)
class Stream(Generic[S, M]):
    """A stream while a call works on it; frames are numbered from the first waiting one.

    The state is what comes out of the call, except that all frames still wait in it.
    """

    state: S
    steps: list[PlannedStep]
    last: bool
    cues: Tensor | None = None  # [P, patches] of the waiting frames, where a method has some

    @property
    def done(self) -> int:
        """Waiting frames that the steps encode."""
        return sum(step.size for step in self.steps)

    @property
    def memory(self) -> M | None:
        """What the groups before left, then what these leave."""
        return self.state.memory

    @memory.setter
    def memory(self, memory: M) -> None:
        self.state.memory = memory


def received(tower: VisionTower, chunk: Chunk, kind: type[S]) -> tuple[S, Tensor]:
    """Return a stream's state with the chunk's frames behind those that wait, and the new frames.

    Frames are on the tower's device. A state of another strategy is refused, and so are frames of
    another size.
    """
    size, before = tower.config.image_size, chunk.state
    if chunk.pixels.shape[1:] != (3, size, size) or chunk.pixels.dtype != torch.uint8:
        raise UsageError(
            f"frames must be uint8 [F, 3, {size}, {size}], got "
            f"{chunk.pixels.dtype} {list(chunk.pixels.shape)}"
        )
    pixels = chunk.pixels.to(tower.device, non_blocking=True)
    if before is None:
        return kind(len(pixels), pixels), pixels
    if not isinstance(before, kind):
        raise UsageError(f"expected a {kind.__name__}, got a {type(before).__name__}")
    waiting = torch.cat([before.pending.to(pixels.device), pixels])
    return replace(before, num_frames=before.num_frames + len(pixels), pending=waiting), pixels


def plan(
    schedule: Schedule, state: S, *, last: bool, cuts: Sequence[bool] = ()
) -> list[PlannedStep]:
    """Say in which steps the waiting frames are encoded; count on from the last full one."""
    steps = schedule.steps(state.since, len(state.pending), last=last, cuts=cuts)
    state.since = since_full(state.since, steps)
    return steps
