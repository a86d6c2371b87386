"""Decide before attention: a token near enough to its root in an earlier frame costs nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from engine.vision.fused.earlygate import FusedGate
from engine.vision.gate.cuts import changes, sketch
from engine.vision.gate.forward import Stepped, step_macs
from engine.vision.gate.learned import LearnedLimits
from engine.vision.gate.limits import Limits
from engine.vision.gate.refresh import Refresh
from engine.vision.gate.steps import PlainSteps, Steps
from engine.vision.reuse.schedule import ORDER, REFERENCES, Schedule, Step
from engine.vision.strategies.base import Chunk, Encoded, StreamState
from engine.vision.tower import VisionTower

SOURCES = tuple(tuple(reference + 1 for reference in allowed) for allowed in REFERENCES)


@dataclass(frozen=True, slots=True)
class EarlyGate:
    """Gate every layer but the first on the change of its input since the root was computed.

    In groups of four frames are encoded in the order 4-2-1-3 and may follow two roots, an earlier
    and a later one; with `sequential` each frame follows the one before it. With `fused` steps run
    as one graph on the GPU, as many streams at once as it has room for.
    """

    tower: VisionTower
    limits: Limits | LearnedLimits
    refresh: Refresh = field(default_factory=Refresh)
    schedule: Schedule = field(default_factory=Schedule)
    sequential: bool = False
    fused: FusedGate | None = None
    name: str = "earlygate"

    def with_scale(self, scale: float) -> "EarlyGate":
        """Multiply the thresholds: below 1 less is reused and drift falls, above 1 it rises."""
        return replace(self, limits=self.limits.scaled(scale))

    @torch.inference_mode()
    def encode(self, chunks: Sequence[Chunk]) -> list[Encoded]:
        """Encode the streams together, step by step, packing the computed rows of all of them."""
        steps: Steps = self.fused or PlainSteps(self.tower, SOURCES)
        room = self.fused.streams if self.fused else len(chunks)
        streams = self._receive(chunks)
        waiting = streams[::-1]
        places: list[_Stream | None] = [None] * min(room, len(chunks))
        steps.begin(len(places), self.limits)
        results = _Results()
        while any(
            following := [self._place(places, at, waiting, steps) for at in range(len(places))]
        ):
            self._advance(places, following, steps, results)
        return self._hand_out(streams, results)

    def _receive(self, chunks: Sequence[Chunk]) -> list["_Stream"]:
        """Move the pixels to the device, and mark cuts; the sketches are all that is read back."""
        if not chunks:
            return []
        device, patch = self.tower.device, self.tower.config.patch
        moved = [chunk.pixels.to(device, non_blocking=True) for chunk in chunks]
        sketches = torch.cat([sketch(pixels, patch) for pixels in moved]).cpu()
        parts = sketches.split([len(pixels) for pixels in moved])
        return [self._begin(*each) for each in zip(chunks, moved, parts, strict=True)]

    def _begin(self, chunk: Chunk, pixels: Tensor, sketches: Tensor) -> "_Stream":
        state = chunk.state
        scalars = state.scalars if state else {"since": None, "spent": 0.0, "marks": []}
        before = state.tensors.get("sketch") if state else None
        marks, spent = self.refresh.marks(changes(sketches, before).tolist(), scalars["spent"])
        return _Stream(
            pixels=torch.cat([state.pending.to(pixels.device), pixels]) if state else pixels,
            roots=state.tensors if state else {},
            marks=[*scalars["marks"], *marks],
            since=scalars["since"],
            spent=spent,
            sketch=sketches[-1] if len(sketches) else before,
            received=(state.num_frames if state else 0) + len(pixels),
            last=chunk.last,
        )

    def _place(
        self, places: list["_Stream | None"], at: int, waiting: list["_Stream"], steps: Steps
    ) -> Step | None:
        """Return the next step of a place; a stream that has none left makes way for another."""
        while True:
            stream = places[at]
            if stream is None:
                if not waiting:
                    return None
                stream = places[at] = waiting.pop()
                steps.load(at, stream.roots)
            if step := self._next(stream):
                return step
            stream.roots = {} if stream.last else steps.saved(at)
            places[at] = None

    def _next(self, stream: "_Stream") -> Step | None:
        waiting, last = stream.waiting, stream.last
        if self.sequential:
            waiting, last = min(waiting, 1), True
        return self.schedule.step(
            stream.since, waiting, last=last, cuts=stream.marks[stream.done :]
        )

    def _advance(
        self,
        places: Sequence["_Stream | None"],
        following: Sequence[Step | None],
        steps: Steps,
        results: "_Results",
    ) -> None:
        """Encode the next step of every stream that has one."""
        sizes = [step.size if step else 0 for step in following]
        placed = [
            (slot, at) for slot in range(max(sizes)) for at, size in enumerate(sizes) if slot < size
        ]
        streams = {at: stream for at, stream in enumerate(places) if stream}
        numbers = [streams[at].done + ORDER[sizes[at]][slot] for slot, at in placed]
        pixels = torch.stack(
            [streams[at].pixels[n] for (_, at), n in zip(placed, numbers, strict=True)]
        )
        full = [step is not None and step.full for step in following]
        stepped = steps.step(placed, pixels, [full[at] for _, at in placed])
        first = results.add(stepped, step_macs(self.tower.config, self.limits, stepped))
        for row, ((_, at), number) in enumerate(zip(placed, numbers, strict=True)):
            streams[at].rows[number] = first + row, full[at]
        for stream, step in zip(places, following, strict=True):
            if stream and step:
                stream.done += step.size
                stream.since = 0 if step.full else (stream.since or 0) + step.size

    def _hand_out(self, streams: Sequence["_Stream"], results: "_Results") -> list[Encoded]:
        """Sort the steps' rows by stream and frame."""
        config, tower = self.tower.config, self.tower
        counts = [stream.done for stream in streams]
        told = [stream.rows[number] for stream in streams for number in range(stream.done)]
        order = _upload(torch.tensor([row for row, _ in told], dtype=torch.long), tower.device)
        full = _upload(torch.tensor([each for _, each in told], dtype=torch.bool), tower.device)
        if told:
            embeddings = torch.cat(results.embeddings)[order]
            computed = torch.cat(results.computed)[order].int()
            macs = torch.cat(results.macs)[order]
        else:
            embeddings = tower.position.new_empty(0, config.dimension)
            computed, macs = full.new_empty(0, config.layers).int(), full.double()
        parts = (part.split(counts) for part in (embeddings, computed, macs, full))
        return [
            Encoded(rows, tokens, cost, whole, None if stream.last else stream.state())
            for stream, rows, tokens, cost, whole in zip(streams, *parts, strict=True)
        ]


def _upload(values: Tensor, device: torch.device) -> Tensor:
    """Copy to the device without waiting for it."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values


class _Results:
    """What the steps of a call gave, row after row."""

    def __init__(self) -> None:
        self.embeddings: list[Tensor] = []
        self.computed: list[Tensor] = []
        self.macs: list[Tensor] = []
        self.num_rows = 0

    def add(self, stepped: Stepped, macs: Tensor) -> int:
        """Append a step's rows; return the number of the first."""
        first = self.num_rows
        self.embeddings.append(stepped.embeddings)
        self.computed.append(stepped.computed)
        self.macs.append(macs)
        self.num_rows += len(macs)
        return first


@dataclass(slots=True)
class _Stream:
    """A stream while its chunk is being encoded; frames are numbered from the first waiting one."""

    pixels: Tensor
    roots: Mapping[str, Tensor]  # as they came, then as they are left
    marks: list[bool]
    since: int | None
    spent: float
    sketch: Tensor | None
    received: int
    last: bool
    done: int = 0
    rows: dict[int, tuple[int, bool]] = field(default_factory=dict)  # of the results, and if full

    @property
    def waiting(self) -> int:
        return len(self.pixels) - self.done

    def state(self) -> StreamState:
        tensors = dict(self.roots) if self.since is not None else {}
        if self.sketch is not None:
            tensors["sketch"] = self.sketch.clone()
        scalars: dict[str, Any] = {
            "since": self.since,
            "spent": self.spent,
            "marks": self.marks[self.done :],
        }
        return StreamState(self.received, self.pixels[self.done :].clone(), None, tensors, scalars)
