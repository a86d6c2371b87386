"""Decide before attention: a token near enough to its root in an earlier frame costs nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from engine.vision.fused.earlygate import FusedGate
from engine.vision.fused.upload import upload
from engine.vision.gate.bridge import Bridge
from engine.vision.gate.cuts import changes, sketch
from engine.vision.gate.forward import Stepped, step_macs
from engine.vision.gate.learned import LearnedLimits
from engine.vision.gate.limits import Limits
from engine.vision.gate.refresh import Refresh
from engine.vision.gate.steps import PlainSteps, Steps
from engine.vision.gate.stream import Frame, Results, Stream, lines
from engine.vision.reuse.schedule import REFERENCES, Schedule, Step
from engine.vision.strategies.base import Chunk, Encoded, StreamState
from engine.vision.tower import VisionTower

WAVES = ((0,), (1,), (2, 3))  # slots that are encoded before it is seen which of the next are left
BRIDGING = 4  # multiply-accumulates for each number of a vector: a cosine and a line
SOURCES = tuple(tuple(reference + 1 for reference in allowed) for allowed in REFERENCES)


@dataclass(frozen=True, slots=True)
class EarlyGate:
    """Gate every layer but the first on the change of its input since the root was computed.

    In groups of four frames are encoded in the order 4-2-1-3 and may follow two roots, an earlier
    and a later one; with `sequential` each frame follows the one before it. A frame whose two sides
    agree by `bridge` is not encoded at all. With `fused` steps run as one graph on the GPU, as many
    streams at once as it has room for; a graph has whole groups, so nothing is bridged there.
    """

    tower: VisionTower
    limits: Limits | LearnedLimits
    refresh: Refresh = field(default_factory=Refresh)
    schedule: Schedule = field(default_factory=Schedule)
    sequential: bool = False
    bridge: Bridge = field(default_factory=Bridge)
    fused: FusedGate | None = None
    name: str = "earlygate"

    def with_scale(self, scale: float) -> "EarlyGate":
        """Multiply the thresholds: below 1 less is reused and drift falls, above 1 it rises."""
        return replace(self, limits=self.limits.scaled(scale), bridge=self.bridge.scaled(scale))

    @torch.inference_mode()
    def encode(self, chunks: Sequence[Chunk]) -> list[Encoded]:
        """Encode the streams together, step by step, packing the computed rows of all of them."""
        steps: Steps = self.fused or PlainSteps(self.tower, SOURCES)
        room = self.fused.streams if self.fused else len(chunks)
        streams = self._receive(chunks)
        waiting = streams[::-1]
        places: list[Stream | None] = [None] * min(room, len(chunks))
        steps.begin(len(places), self.limits)
        results = Results(streams, self.tower.device)
        while any(
            following := [self._place(places, at, waiting, steps) for at in range(len(places))]
        ):
            self._advance(places, following, steps, results)
        return self._hand_out(streams, results)

    def _receive(self, chunks: Sequence[Chunk]) -> list[Stream]:
        """Move the pixels to the device, and mark cuts; the sketches are all that is read back."""
        if not chunks:
            return []
        device, patch = self.tower.device, self.tower.config.patch
        moved = [chunk.pixels.to(device, non_blocking=True) for chunk in chunks]
        sketches = torch.cat([sketch(pixels, patch) for pixels in moved]).cpu()
        parts = sketches.split([len(pixels) for pixels in moved])
        return [self._begin(*each) for each in zip(chunks, moved, parts, strict=True)]

    def _begin(self, chunk: Chunk, pixels: Tensor, sketches: Tensor) -> Stream:
        state = chunk.state
        scalars = state.scalars if state else {"since": None, "spent": 0.0, "marks": []}
        tensors = state.tensors if state else {}
        seen = tensors.get("sketches", torch.zeros(1, *sketches.shape[1:]))
        before = seen[-1] if state and state.num_frames else None
        marks, spent = self.refresh.marks(changes(sketches, before).tolist(), scalars["spent"])
        return Stream(
            pixels=torch.cat([state.pending.to(pixels.device), pixels]) if state else pixels,
            roots=tensors,
            marks=[*scalars["marks"], *marks],
            since=scalars["since"],
            spent=spent,
            sketches=torch.cat([seen, sketches]),
            vectors={-1: tensors["vector"]} if "vector" in tensors else {},
            received=(state.num_frames if state else 0) + len(pixels),
            last=chunk.last,
        )

    def _place(
        self, places: list[Stream | None], at: int, waiting: list[Stream], steps: Steps
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

    def _next(self, stream: Stream) -> Step | None:
        waiting, last = stream.waiting, stream.last
        if self.sequential:
            waiting, last = min(waiting, 1), True
        return self.schedule.step(
            stream.since, waiting, last=last, cuts=stream.marks[stream.done :]
        )

    def _advance(
        self,
        places: Sequence[Stream | None],
        following: Sequence[Step | None],
        steps: Steps,
        results: Results,
    ) -> None:
        """Encode the next step of every stream that has one."""
        groups = [(at, *each) for at, each in enumerate(zip(places, following, strict=True))]
        frames = [
            Frame(stream, at, slot, step)
            for slot in range(max(step.size for step in following if step))
            for at, stream, step in groups
            if stream and step and slot < step.size
        ]
        if isinstance(steps, PlainSteps) and self.bridge.limit > 0:
            for wave in WAVES:
                left = self._bridge([frame for frame in frames if frame.slot in wave], results)
                self._encode(left, partial(steps.step, more=wave is not WAVES[-1]), results)
            steps.close()
        else:
            self._encode(frames, steps.step, results)
        for _, stream, step in groups:
            if stream and step:
                stream.done += step.size
                stream.since = 0 if step.full else (stream.since or 0) + step.size

    def _bridge(self, frames: Sequence[Frame], results: Results) -> list[Frame]:
        """Interpolate the frames whose sides agree; return the others."""
        if not frames or frames[0].slot == 0:
            return list(frames)
        rows, spanned = lines(self.bridge, frames)
        bridged = [frames[at] for at in spanned.nonzero().squeeze(1).tolist()]
        if bridged:
            rows = rows[spanned.to(rows.device)]
            nothing = rows.new_zeros(len(rows), self.tower.config.layers, dtype=torch.long)
            macs = rows.new_full((len(rows),), BRIDGING * rows.shape[1], dtype=torch.double)
            results.add(bridged, rows, nothing, macs)
        return [frames[at] for at in (~spanned).nonzero().squeeze(1).tolist()]

    def _encode(
        self, frames: Sequence[Frame], step: Callable[..., Stepped], results: Results
    ) -> None:
        if not frames:
            return
        pixels = results.pixels(frames)
        placed = [(frame.slot, frame.place) for frame in frames]
        stepped = step(placed, pixels, [frame.step.full for frame in frames])
        macs = step_macs(self.tower.config, self.limits, stepped)
        results.add(frames, stepped.embeddings, stepped.computed, macs)

    def _hand_out(self, streams: Sequence[Stream], results: Results) -> list[Encoded]:
        """Sort the steps' rows by stream and frame."""
        config, tower = self.tower.config, self.tower
        counts = [stream.done for stream in streams]
        told = [stream.rows[number] for stream in streams for number in range(stream.done)]
        order = upload(torch.tensor([row for row, _ in told], dtype=torch.long), tower.device)
        full = upload(torch.tensor([each for _, each in told], dtype=torch.bool), tower.device)
        if told:
            embeddings = torch.cat(results.embeddings)[order]
            computed = torch.cat(results.computed)[order].int()
            macs = torch.cat(results.macs)[order]
        else:
            embeddings = tower.position.new_empty(0, config.dimension)
            computed, macs = full.new_empty(0, config.layers).int(), full.double()
        parts = (part.split(counts) for part in (embeddings, computed, macs, full))
        return [
            Encoded(rows, tokens, cost, whole, None if stream.last else _state(stream))
            for stream, rows, tokens, cost, whole in zip(streams, *parts, strict=True)
        ]


def _state(stream: Stream) -> StreamState:
    """What is kept of a stream up to the next call."""
    tensors, done = {}, stream.done
    if stream.since is not None:
        tensors = {**stream.roots, "vector": stream.vectors[done - 1].clone()}
    tensors["sketches"] = stream.sketches[done:].clone()
    scalars = {"since": stream.since, "spent": stream.spent, "marks": stream.marks[done:]}
    return StreamState(stream.received, stream.pixels[done:].clone(), None, tensors, scalars)
