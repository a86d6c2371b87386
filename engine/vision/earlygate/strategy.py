"""Decide before attention: a token near enough to its root in an earlier frame costs nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from engine.vision.backbone.tower import VisionTower
from engine.vision.earlygate.bridge import Bridge
from engine.vision.earlygate.forward import step_macs
from engine.vision.earlygate.fused import FusedGate
from engine.vision.earlygate.learned import LearnedLimits
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.earlygate.plain import WAVES, PlainGate
from engine.vision.earlygate.stream import GateState, GateStream, Lines
from engine.vision.streaming.call import Call
from engine.vision.streaming.cuts import sketch
from engine.vision.streaming.driver import encode_streams
from engine.vision.streaming.marks import look, receive_marked
from engine.vision.streaming.refresh import Refresh
from engine.vision.streaming.schedule import Schedule
from engine.vision.streaming.stepper import run_rounds
from engine.vision.streaming.strategy import Chunk, Encoded
from engine.vision.streaming.streams import Stream

SAME = 0.15  # change of a patch's mean colour up to which sides show the same
BRIDGING = 4  # multiply-accumulates for each number of a vector: a cosine and a line


@dataclass(frozen=True, slots=True)
class EarlyGate:
    """Gate every layer but the first on the change of its input since the root was computed.

    In groups of four frames are encoded in the order 4-2-1-3 and may follow two roots, an earlier
    and a later one; with `sequential` each frame follows the one before it. A frame whose two sides
    agree by `bridge` is not encoded at all. With `fused` steps run as one graph on the GPU, as many
    streams at once as it has room for; a graph has whole groups, so nothing is bridged there.
    """

    tower: VisionTower
    limits: FixedLimits | LearnedLimits
    refresh: Refresh = field(default_factory=Refresh)
    schedule: Schedule = field(default_factory=Schedule)
    sequential: bool = False
    bridge: Bridge = field(default_factory=Bridge)
    fused: FusedGate | None = None
    name: str = "earlygate"
    whole_streams: bool = field(default=False, init=False)

    def with_scale(self, scale: float) -> "EarlyGate":
        """Multiply the thresholds: below 1 less is reused and drift falls, above 1 it rises."""
        return replace(self, limits=self.limits.scaled(scale), bridge=self.bridge.scaled(scale))

    def steadied(self) -> "EarlyGate":
        """Bridge only where both sides show the same: a rare frame that drifts far costs audits."""
        return replace(self, bridge=replace(self.bridge, change=min(self.bridge.change, SAME)))

    @torch.inference_mode()
    def encode(self, chunks: Sequence[Chunk]) -> list[Encoded]:
        """Encode the streams together, step by step, packing the computed rows of all of them."""
        return encode_streams(self, chunks)

    def look(self, pixels: Tensor) -> Tensor:
        """Return the frames' brightness by patch, in which cuts are seen."""
        return look(self.tower, pixels)

    def receive(self, chunks: Sequence[Chunk]) -> list[GateStream]:
        """Move the pixels to the device, and mark cuts."""
        schedule = replace(self.schedule, group=1) if self.sequential else self.schedule
        marked = receive_marked(self.tower, chunks, GateState, self.refresh, schedule)
        return [
            Stream(each.state, each.steps, chunk.last)
            for each, chunk in zip(marked, chunks, strict=True)
        ]

    def run(self, streams: Sequence[GateStream], call: Call) -> Tensor:
        """Encode groups of all streams; frames that are bridged cost a cosine and a line."""
        patch = self.tower.config.patch
        bridging = not self.fused and self.bridge.limit > 0 and any(s.steps for s in streams)
        lines = Lines(self.bridge, streams, call, patch) if bridging else None
        if self.fused:
            run_rounds(self.fused.limited(self.limits), streams, call)
        elif lines:
            run_rounds(PlainGate(self.tower, self.limits, WAVES), streams, call, lines.walk)
        else:
            run_rounds(PlainGate(self.tower, self.limits), streams, call)
        self._keep(streams, call)
        references = call.sent(call.references)
        macs = step_macs(self.tower.config, self.limits, call.computed, references)
        if lines is not None:
            macs[lines.bridged] = float(BRIDGING * call.embeddings.shape[1])
        return macs

    def _keep(self, streams: Sequence[GateStream], call: Call) -> None:
        """Keep of streams that go on the marks of what waits, and the last frame that is done."""
        shares = call.shares([stream.done for stream in streams])
        moved = [at for at, stream in enumerate(streams) if stream.done and not stream.last]
        last = call.sent(np.array([shares[at].stop - 1 for at in moved], np.int64))
        sketches = sketch(call.pixels.index_select(0, last), self.tower.config.patch)
        ends = zip(call.embeddings[last], sketches, strict=True)
        for at, (vector, picture) in zip(moved, ends, strict=True):
            state = streams[at].state
            state.vector, state.sketch = vector.clone(), picture.clone()
        for stream in streams:
            stream.state.passed(stream.done)
