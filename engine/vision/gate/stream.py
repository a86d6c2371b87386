"""Streams, their frames and results while the early gate encodes the chunks of one call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.vision.fused.upload import upload
from engine.vision.gate.bridge import Bridge, novelty
from engine.vision.reuse.schedule import ORDER, REFERENCES, Step


@dataclass(slots=True)
class Stream:
    """A stream while its chunk is being encoded; frames are numbered from the first waiting one."""

    pixels: Tensor
    sketches: Tensor  # of the frame before the first waiting one, and of those
    roots: Mapping[str, Tensor]  # as they came, then as they are left
    marks: list[bool]
    since: int | None
    spent: float
    received: int
    last: bool
    vectors: dict[int, Tensor]  # of the frame before the first waiting one, and of those done
    first: int = 0  # of its waiting frames among those of all streams
    done: int = 0
    rows: dict[int, tuple[int, bool]] = field(default_factory=dict)  # of the results, and if full

    @property
    def waiting(self) -> int:
        """Frames not encoded yet."""
        return len(self.pixels) - self.done


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of the step at hand."""

    stream: Stream
    place: int  # of the stream among those side by side
    slot: int
    step: Step

    @property
    def number(self) -> int:
        """Its number in the stream."""
        return self.stream.done + ORDER[self.step.size][self.slot]

    @property
    def sides(self) -> tuple[int, int]:
        """The frames that it may follow, of slots after the first: the one before, then after."""
        order, done = ORDER[self.step.size], self.stream.done
        before, after = sorted(
            done + (-1 if reference < 0 else order[reference])
            for reference in REFERENCES[self.slot]
        )
        return before, after


class Results:
    """What the steps of a call gave, row after row, and the frames that they were made of."""

    def __init__(self, streams: Sequence[Stream], device: torch.device) -> None:
        first = 0
        for stream in streams:
            stream.first = first
            first += len(stream.pixels)
        self._pixels = torch.cat([stream.pixels for stream in streams]) if streams else None
        self._device = device
        self.embeddings: list[Tensor] = []
        self.computed: list[Tensor] = []
        self.macs: list[Tensor] = []
        self.num_rows = 0

    def pixels(self, frames: Sequence[Frame]) -> Tensor:
        """Return the bytes of these frames, picked in one go."""
        assert self._pixels is not None
        numbers = torch.tensor([frame.stream.first + frame.number for frame in frames])
        return self._pixels.index_select(0, upload(numbers, self._device))

    def add(
        self, frames: Sequence[Frame], embeddings: Tensor, computed: Tensor, macs: Tensor
    ) -> None:
        """Append the rows of these frames."""
        for frame, vector in zip(frames, embeddings, strict=True):
            frame.stream.rows[frame.number] = self.num_rows, frame.step.full
            frame.stream.vectors[frame.number] = vector
            self.num_rows += 1
        self.embeddings.append(embeddings)
        self.computed.append(computed)
        self.macs.append(macs)


def lines(bridge: Bridge, frames: Sequence[Frame]) -> tuple[Tensor, Tensor]:
    """Vectors `[n, E]` between the frames' sides, and whether they may stand for them, on the CPU.

    The frames are not of slot 0, and their sides are done.
    """
    streams = [frame.stream for frame in frames]
    befores, afters = zip(*(frame.sides for frame in frames), strict=True)
    left, right = (
        torch.stack([s.vectors[at] for s, at in zip(streams, numbers, strict=True)])
        for numbers in (befores, afters)
    )
    own, before, after = (
        torch.stack([s.sketches[at + 1] for s, at in zip(streams, numbers, strict=True)])
        for numbers in ([frame.number for frame in frames], befores, afters)
    )
    ways = [
        (frame.number - first) / (second - first)
        for frame, first, second in zip(frames, befores, afters, strict=True)
    ]
    line = left + (right - left) * left.new_tensor(ways)[:, None]
    return line, bridge.spans(left, right, novelty(own, before, after)).cpu()
