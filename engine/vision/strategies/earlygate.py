"""Decide before attention: a token near enough to its root in an earlier frame costs nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from engine.vision.fused.earlygate import FusedGate
from engine.vision.gate.cuts import changes, sketch
from engine.vision.gate.forward import step_macs
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
        waiting = list(enumerate(chunks))[::-1]
        places: list[tuple[int, _Stream] | None] = [None] * min(room, len(chunks))
        results: dict[int, Encoded] = {}
        steps.begin(len(places), self.limits)
        while waiting or any(places):
            # a stream whose chunk is done makes place for the next one
            for at, held in enumerate(places):
                if held is None and waiting:
                    number, chunk = waiting.pop()
                    steps.load(at, chunk.state.tensors if chunk.state else {})
                    places[at] = number, self._receive(chunk)
            following = [self._next(held[1]) if held else None for held in places]
            if any(following):
                self._advance([held[1] if held else None for held in places], following, steps)
            for at, (held, step) in enumerate(zip(places, following, strict=True)):
                if held and not step:
                    number, stream = held
                    results[number] = self._result(stream, {} if stream.last else steps.saved(at))
                    places[at] = None
        return [results[number] for number in range(len(chunks))]

    def _receive(self, chunk: Chunk) -> "_Stream":
        state, pixels = chunk.state, chunk.pixels.to(self.tower.device, non_blocking=True)
        scalars = state.scalars if state else {"since": None, "spent": 0.0, "marks": []}
        sketches = sketch(pixels, self.tower.config.patch)
        before = state.tensors.get("sketch") if state else None
        marks, spent = self.refresh.marks(changes(sketches, before).tolist(), scalars["spent"])
        return _Stream(
            pixels=torch.cat([state.pending.to(pixels.device), pixels]) if state else pixels,
            marks=[*scalars["marks"], *marks],
            since=scalars["since"],
            spent=spent,
            sketch=sketches[-1] if len(sketches) else before,
            received=(state.num_frames if state else 0) + len(pixels),
            last=chunk.last,
        )

    def _next(self, stream: "_Stream") -> Step | None:
        waiting, last = stream.waiting, stream.last
        if self.sequential:
            waiting, last = min(waiting, 1), True
        return self.schedule.step(
            stream.since, waiting, last=last, cuts=stream.marks[stream.done :]
        )

    def _advance(
        self, places: Sequence["_Stream | None"], following: Sequence[Step | None], steps: Steps
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
        macs = step_macs(self.tower.config, self.limits, stepped)
        for row, ((_, at), number) in enumerate(zip(placed, numbers, strict=True)):
            streams[at].results[number] = _Row(
                stepped.embeddings[row], stepped.computed[row], macs[row], full[at]
            )
        for stream, step in zip(places, following, strict=True):
            if stream and step:
                stream.done += step.size
                stream.since = 0 if step.full else (stream.since or 0) + step.size

    def _result(self, stream: "_Stream", tensors: Mapping[str, Tensor]) -> Encoded:
        tower = self.tower
        rows = [stream.results[number] for number in range(stream.done)]
        empty = torch.empty(0, device=tower.device)
        return Encoded(
            embeddings=torch.stack([row.embedding for row in rows])
            if rows
            else empty.new_empty(0, tower.config.dimension, dtype=tower.dtype),
            computed=torch.stack([row.computed for row in rows]).int()
            if rows
            else empty.new_empty(0, tower.config.layers, dtype=torch.int32),
            macs=torch.stack([row.macs for row in rows]) if rows else empty.double(),
            full=torch.tensor([row.full for row in rows], dtype=torch.bool, device=tower.device),
            state=None if stream.last else stream.state(tensors),
        )


@dataclass(frozen=True, slots=True)
class _Row:
    """What one frame gave."""

    embedding: Tensor
    computed: Tensor
    macs: Tensor
    full: bool


@dataclass(slots=True)
class _Stream:
    """A stream while its chunk is being encoded; frames are numbered from the first waiting one."""

    pixels: Tensor
    marks: list[bool]
    since: int | None
    spent: float
    sketch: Tensor | None
    received: int
    last: bool
    done: int = 0
    results: dict[int, _Row] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        return len(self.pixels) - self.done

    def state(self, roots: Mapping[str, Tensor]) -> StreamState:
        tensors = dict(roots) if self.since is not None else {}
        if self.sketch is not None:
            tensors["sketch"] = self.sketch.clone()
        scalars: dict[str, Any] = {
            "since": self.since,
            "spent": self.spent,
            "marks": self.marks[self.done :],
        }
        return StreamState(self.received, self.pixels[self.done :].clone(), None, tensors, scalars)
