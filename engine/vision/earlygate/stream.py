"""The early gate's streams while a call lasts, and the lines between their frames."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.vision.earlygate.bridge import Bridge
from engine.vision.earlygate.plain import WAVES
from engine.vision.earlygate.roots import Roots
from engine.vision.streaming.call import Call
from engine.vision.streaming.cuts import sketch
from engine.vision.streaming.marks import MarkedState
from engine.vision.streaming.places import Frames, Numbers, Round
from engine.vision.streaming.schedule import GROUP, ORDER
from engine.vision.streaming.streams import Stream
from kernels.select import REFERENCES


@dataclass(slots=True)
class GateState(MarkedState[Roots]):
    """What is kept of a stream besides: the last frame that is done."""

    vector: Tensor | None = None  # of the last frame done
    sketch: Tensor | None = None  # of the same frame


GateStream = Stream[GateState, Roots]


def _sides() -> Numbers:
    """By size and slot: the frames of a group that the slot's may follow, -1 the one before it."""
    table = np.full((GROUP + 1, GROUP, 2), -1)
    for size, order in ORDER.items():
        for slot in range(1, size):
            table[size, slot] = sorted(
                -1 if reference < 0 else order[reference] for reference in REFERENCES[slot]
            )
    return table


SIDES = _sides()


class Lines:
    """Frames of a call that are not encoded, but stand on the line between their two sides."""

    def __init__(
        self, bridge: Bridge, streams: Sequence[GateStream], call: Call, patch: int
    ) -> None:
        none = torch.zeros_like(call.embeddings[0])
        self._bridge = bridge
        self._call = call
        self._sketches = sketch(call.pixels, patch).cpu()
        # of the frame before each stream's first waiting one
        nothing = torch.zeros_like(self._sketches[0])
        vectors, sketches = (
            [getattr(stream.state, name) for stream in streams] for name in ("vector", "sketch")
        )
        self._before = torch.stack([none if each is None else each for each in vectors])
        self._sketch = torch.stack([nothing if each is None else each.cpu() for each in sketches])
        self.bridged = torch.zeros(len(call.embeddings), dtype=torch.bool, device=none.device)

    def walk(self, part: Round) -> Iterator[Frames]:
        """Yield what is encoded of a round's frames, wave by wave: what came before has vectors."""
        frames = part.frames()
        for wave in WAVES:
            left = self._bridge_some(part, frames.chosen(np.isin(frames.slots, wave)))
            if len(left.slots):
                yield left

    def _bridge_some(self, part: Round, frames: Frames) -> Frames:
        """Interpolate the frames whose sides agree; return the others."""
        if not len(frames.slots) or frames.slots[0] == 0:
            return frames
        line, spanned = self._between(part, frames)
        those = frames.chosen(spanned.numpy())
        if len(those.slots):
            rows = self._call.rows(part, those)
            line = line[spanned.to(line.device)]
            self._call.put(rows, line, torch.zeros_like(self._call.computed[: len(rows)]))
            self.bridged[rows] = True
        return frames.chosen(~spanned.numpy())

    def _between(self, part: Round, frames: Frames) -> tuple[Tensor, Tensor]:
        """Vectors `[n, E]` between the frames' sides, and whether they may stand for them: bool."""
        streams, done = part.streams[frames.groups], part.done[frames.groups]
        sides = done[:, None] + SIDES[part.sizes[frames.groups], frames.slots]
        left, right = (self._vectors(streams, numbers) for numbers in sides.T)
        frame, before, after = (
            self._shown(streams, numbers) for numbers in (frames.numbers, *sides.T)
        )
        ways = (frames.numbers - sides[:, 0]) / (sides[:, 1] - sides[:, 0])
        line = left + (right - left) * torch.from_numpy(ways).to(left)[:, None]
        return line, self._bridge.spans(left, right, (frame, before, after)).cpu()

    def _vectors(self, streams: Numbers, numbers: Numbers) -> Tensor:
        """Vectors of these frames; number -1 is the one before the first."""
        call, early = self._call, numbers < 0
        rows = call.embeddings[call.sent(call.first[streams] + numbers.clip(0))]
        return self._before[call.sent(streams)].where(call.sent(early)[:, None], rows)

    def _shown(self, streams: Numbers, numbers: Numbers) -> Tensor:
        """Sketches of these frames, likewise."""
        early = torch.from_numpy(numbers < 0)[:, None, None, None]
        rows = self._sketches[torch.from_numpy(self._call.first[streams] + numbers.clip(0))]
        return self._sketch[torch.from_numpy(streams)].where(early, rows)
