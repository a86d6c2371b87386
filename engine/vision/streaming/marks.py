"""Streams in which frames are marked that must be full: after a cut, or a budget of change."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch
from torch import Tensor

from engine.vision.backbone.tower import VisionTower
from engine.vision.streaming.cuts import brightness, changes, sketch
from engine.vision.streaming.refresh import Refresh
from engine.vision.streaming.schedule import PlannedStep, Schedule
from engine.vision.streaming.strategy import Chunk
from engine.vision.streaming.streams import GroupedState, plan, received

M = TypeVar("M")


@dataclass(slots=True)
class MarkedState(GroupedState[M], Generic[M]):
    """What is kept of a stream besides: which of its waiting frames must be full."""

    marks: list[bool] = field(default_factory=list)
    spent: float = 0.0  # change of the pixels since the last mark
    bright: Tensor | None = None  # of the last frame received, on the host

    def passed(self, done: int) -> None:
        """Forget the marks of frames that are done."""
        self.marks = self.marks[done:]


S = TypeVar("S", bound=MarkedState)  # type: ignore[type-arg]


@dataclass(frozen=True, slots=True)
class Marked(Generic[S]):
    """A stream's frames on the tower's device, and in which steps they are encoded."""

    state: S
    pixels: Tensor  # uint8 [F, 3, S, S], the new ones
    steps: list[PlannedStep]


def look(tower: VisionTower, pixels: Tensor) -> Tensor:
    """Return the frames' brightness by patch, in which cuts are seen."""
    return brightness(sketch(pixels, tower.config.patch))


def receive_marked(
    tower: VisionTower,
    chunks: Sequence[Chunk],
    kind: type[S],
    refresh: Refresh,
    schedule: Schedule,
) -> list[Marked[S]]:
    """Move the pixels to the device, and mark cuts; brightness is all that is read back."""
    moved = [received(tower, chunk, kind) for chunk in chunks]
    late = [at for at, chunk in enumerate(chunks) if chunk.looked is None]
    looked = {at: chunk.looked for at, chunk in enumerate(chunks) if chunk.looked is not None}
    if late:
        read = look(tower, torch.cat([moved[at][1] for at in late])).cpu()
        looked |= zip(late, read.split([len(moved[at][1]) for at in late]), strict=True)
    found = []
    for at, (chunk, (state, pixels)) in enumerate(zip(chunks, moved, strict=True)):
        bright = looked[at]
        change = changes(bright, state.bright).tolist()
        marks, state.spent = refresh.marks(change, state.spent)
        state.marks = [*state.marks, *marks]
        state.bright = bright[-1].clone() if len(bright) else state.bright
        steps = plan(schedule, state, last=chunk.last, cuts=state.marks)
        found.append(Marked(state, pixels, steps))
    return found
