"""Decide before attention: a token near enough to its root in an earlier frame costs nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from engine.vision.backbone.tower import VisionTower
from engine.vision.earlygate.bridge import Bridge
from engine.vision.earlygate.forward import Stepped, step_macs
from engine.vision.earlygate.fused import FusedGate
from engine.vision.earlygate.learned import LearnedLimits
from engine.vision.earlygate.limits import Limits
from engine.vision.earlygate.refresh import Refresh
from engine.vision.earlygate.steps import PlainSteps, Steps
from engine.vision.earlygate.stream import Lines, Stream
from engine.vision.streaming.call import Call
from engine.vision.streaming.cuts import brightness, changes, sketch
from engine.vision.streaming.places import Frames, Round, rounds
from engine.vision.streaming.schedule import GROUP, Schedule, since_full
from engine.vision.streaming.strategy import Chunk, Encoded, StreamState
from kernels.select import REFERENCES

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
        call = Call(self.tower, [stream.pixels for stream in streams])
        places = min(room, sum(bool(stream.steps) for stream in streams))
        steps.begin(places, self.limits)
        bridging = isinstance(steps, PlainSteps) and self.bridge.limit > 0 and places > 0
        lines = Lines(self.bridge, streams, call, self.tower.config.patch) if bridging else None
        for part in rounds([stream.steps for stream in streams], places):
            steps.load({at: streams[n].roots for n, at in part.begun()})
            self._run(part, call, steps, lines)
            left = [(streams[n], at) for n, at in part.ended() if not streams[n].last]
            for (stream, _), roots in zip(left, steps.saved([at for _, at in left]), strict=True):
                stream.roots = roots
        return self._hand_out(streams, call, lines)

    def look(self, pixels: Tensor) -> Tensor:
        """Return the frames' brightness by patch, in which cuts are seen."""
        return brightness(sketch(pixels, self.tower.config.patch))

    def _receive(self, chunks: Sequence[Chunk]) -> list[Stream]:
        """Move the pixels to the device, and mark cuts; brightness is all that is read back."""
        device = self.tower.device
        moved = [chunk.pixels.to(device, non_blocking=True) for chunk in chunks]
        late = [at for at, chunk in enumerate(chunks) if chunk.looked is None]
        looked = {at: chunk.looked for at, chunk in enumerate(chunks) if chunk.looked is not None}
        if late:
            read = self.look(torch.cat([moved[at] for at in late])).cpu()
            looked |= zip(late, read.split([len(moved[at]) for at in late]), strict=True)
        return [self._begin(chunk, moved[at], looked[at]) for at, chunk in enumerate(chunks)]

    def _begin(self, chunk: Chunk, pixels: Tensor, bright: Tensor) -> Stream:
        state = chunk.state
        scalars = state.scalars if state else {"since": None, "spent": 0.0, "marks": []}
        before = state.tensors.get("bright") if state else None
        new, spent = self.refresh.marks(changes(bright, before).tolist(), scalars["spent"])
        waiting = torch.cat([state.pending.to(pixels.device), pixels]) if state else pixels
        since, marks = scalars["since"], [*scalars["marks"], *new]
        most = 1 if self.sequential else GROUP
        steps = self.schedule.steps(since, len(waiting), last=chunk.last, cuts=marks, most=most)
        return Stream(
            pixels=waiting,
            roots=state.tensors if state else {},
            marks=marks,
            steps=steps,
            since=since_full(since, steps),
            spent=spent,
            bright=bright[-1] if len(bright) else before,
            received=(state.num_frames if state else 0) + len(pixels),
            last=chunk.last,
        )

    def _run(self, part: Round, call: Call, steps: Steps, lines: Lines | None) -> None:
        """Encode the next step of every stream that has a place."""
        frames = part.frames()
        if lines is None or not isinstance(steps, PlainSteps):
            return self._encode(part, frames, call, steps.step)
        for wave in WAVES:
            left = lines.bridge(part, frames.chosen(np.isin(frames.slots, wave)))
            self._encode(part, left, call, partial(steps.step, more=wave is not WAVES[-1]))
        return steps.close()

    def _encode(
        self, part: Round, frames: Frames, call: Call, step: Callable[..., Stepped]
    ) -> None:
        if not len(frames.slots):
            return
        rows = call.rows(part, frames)
        places, whole = part.places[frames.groups], part.full[frames.groups]
        stepped = step(frames.slots, places, call.pick(rows), whole)
        call.put(rows, stepped.embeddings, stepped.computed)

    def _hand_out(
        self, streams: Sequence[Stream], call: Call, lines: Lines | None
    ) -> list[Encoded]:
        """Cut the call's rows by stream."""
        macs = step_macs(self.tower.config, self.limits, call.computed, call.told(call.references))
        if lines is not None:
            macs[lines.bridged] = float(BRIDGING * call.embeddings.shape[1])
        full = call.told(call.full)
        shares = call.shares([stream.done for stream in streams])
        states = self._states(streams, shares, call)
        return [
            Encoded(
                call.embeddings[rows], call.computed[rows], macs[rows], full[rows], states.get(at)
            )
            for at, rows in enumerate(shares)
        ]

    def _states(
        self, streams: Sequence[Stream], shares: Sequence[slice], call: Call
    ) -> dict[int, StreamState]:
        """What is kept of the streams that go on, up to the next call."""
        going = [at for at, stream in enumerate(streams) if not stream.last]
        moved = [at for at in going if streams[at].done]
        last = call.told(np.array([shares[at].stop - 1 for at in moved], np.int64))
        sketches = sketch(call.pick(last), self.tower.config.patch)
        ends = zip(call.embeddings[last], sketches, strict=True)
        kept = {
            at: {"vector": v.clone(), "sketch": s.clone()}
            for at, (v, s) in zip(moved, ends, strict=True)
        }
        return {at: _state(streams[at], kept.get(at, {})) for at in going}


def _state(stream: Stream, kept: Mapping[str, Tensor]) -> StreamState:
    tensors, done = {**stream.roots, **kept}, stream.done
    if stream.bright is not None:
        tensors["bright"] = stream.bright.clone()
    scalars = {"since": stream.since, "spent": stream.spent, "marks": stream.marks[done:]}
    return StreamState(stream.received, stream.pixels[done:].clone(), None, tensors, scalars)
