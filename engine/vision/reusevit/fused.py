"""ReuseViT's whole forward of a group as CUDA graphs, with nothing read by the host."""

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.errors import UsageError
from engine.vision.backbone.tower import VisionTower
from engine.vision.fused.capture import capture
from engine.vision.fused.layers import (
    Embedding,
    check_tower,
    finish_classes,
    finish_rows,
    project_rows,
)
from engine.vision.fused.upload import upload
from engine.vision.reusevit.memory import SLOTS, ReuseMemory
from engine.vision.reusevit.modules import ReuseConfig
from engine.vision.reusevit.plain import ServedGate
from engine.vision.streaming.references import References
from engine.vision.streaming.stepper import Batch, Stepped
from kernels.attention import attend
from kernels.copy_rows import copy_rows
from kernels.correct import correct
from kernels.decide_groups import PackedGroups, Starts, decide_groups, pack_decision


def fusible(config: ReuseConfig) -> bool:
    """Whether modules of this kind can be served fused: the default decision and chain are."""
    # bottlenecks that a product on tensor cores takes, or none at all
    narrow = config.narrow == 0 or (config.narrow >= 16 and config.narrow.bit_count() == 1)
    return narrow and config.chain == "published" and config.decision.count("l") == 2


class FusedReuse:
    """Groups of up to `streams` streams side by side, their references kept in place.

    A graph is captured for each number of slots and for a few numbers of streams, when first
    needed; which tokens are computed, and how many, is decided and read on the device. Decisions
    and values are those of `PlainReuse` with the chain `published`.
    """

    def __init__(
        self,
        tower: VisionTower,
        gates: Sequence[ServedGate],
        *,
        streams: int = 64,
        bias: float = 0.0,
        forced: bool = False,
    ) -> None:
        check_tower(tower)
        self.tower = tower
        self.room = streams
        self.memory = ReuseMemory.allocate(tower, streams, gates[0].up.shape[1], forced=forced)
        self.gates = gates
        self.bias = bias
        self._decisions = torch.stack([pack_decision(gate.layers) for gate in gates])
        self._margins = self._decisions[:, 7].clone()
        self._embedding = Embedding(tower, SLOTS * streams)
        self._graphs: dict[tuple[int, int], torch.cuda.CUDAGraph] = {}

    def shifted(self, shift: float) -> "FusedReuse":
        """Return the same memory and graphs, to be used in turn, with that added to every logit."""
        other = copy.copy(self)
        other.bias = self.bias + shift
        return other

    def begin(self, places: int) -> None:
        """Set the decisions of the steps to come, of up to `room` streams."""
        if places > self.room:
            raise UsageError(f"expected at most {self.room} streams, got {places}")
        self._decisions[:, 7] = self._margins + self.bias

    def load(self, saved: Mapping[int, References]) -> None:
        """Copy streams' references to their places."""
        rows = self.memory.rows_of(list(saved))
        for (cached, states), references in zip(rows, saved.values(), strict=True):
            mixed = references.mixed.to(self.memory.cached)
            kept = references.states.to(self.memory.cached)
            copy_rows(mixed.flatten(0, 1), None, cached, out=self.memory.mixed_rows)
            copy_rows(kept.flatten(0, 1), None, states, out=self.memory.states)

    def saved(self, places: Sequence[int]) -> list[References]:
        """Copies of these streams' references, to go on from later."""
        memory, copies = self.memory, []
        for cached, states in memory.rows_of(places):
            mixed = memory.cached.new_empty(memory.gates, memory.tokens, memory.cached.shape[-1])
            kept = mixed.new_empty(memory.gates, memory.tokens, memory.states.shape[-1])
            copy_rows(memory.mixed_rows, cached, None, out=mixed.flatten(0, 1))
            copy_rows(memory.states, states, None, out=kept.flatten(0, 1))
            copies.append(References(mixed, kept))
        return copies

    @torch.inference_mode()
    def step(self, batch: Batch) -> Stepped:
        """Encode a batch; the host waits for nothing if its tensors are on the device."""
        memory, num = self.memory, len(batch.slots)
        slots, lanes = int(batch.slots[-1]) + 1, self.width(int(batch.places.max()) + 1)
        words = np.zeros(2 * lanes + num, np.int64)
        sizes, full, at = np.split(words, [lanes, 2 * lanes])
        sizes[:] = np.bincount(batch.places, minlength=lanes)
        first = batch.slots == 0
        full[batch.places[first]] = batch.full[first]
        at[:] = batch.slots * lanes + batch.places
        sent = upload(torch.from_numpy(words), self.tower.device)
        memory.sizes[:lanes].copy_(sent[:lanes])
        memory.full[:lanes].copy_(sent[lanes : 2 * lanes])
        order = sent[2 * lanes :]
        memory.pixels[:num].copy_(batch.pixels)
        if batch.cues is not None:
            memory.cue.index_copy_(0, order, batch.cues.float())
        self.run(slots, lanes)
        frames = (memory.gates, slots * lanes, memory.tokens)
        reused = memory.reused[:, : slots * lanes * memory.tokens].view(frames)
        computed = memory.tokens - reused[:, order].sum(2, dtype=torch.int64).T
        return Stepped(memory.embeddings[order], F.pad(computed, (1, 0), value=memory.tokens))

    def run(self, slots: int, lanes: int) -> None:
        """Encode what lies in the memory: `slots` frames of the first `lanes` streams."""
        if self.tower.device.type != "cuda":
            return self._forward(slots, lanes)
        key = slots, lanes
        if key not in self._graphs:
            # an empty group leaves every stream where it is
            sizes = self.memory.sizes.clone()
            self.memory.sizes.zero_()
            self._graphs[key] = capture(lambda: self._forward(slots, lanes))
            self.memory.sizes.copy_(sizes)
        return self._graphs[key].replay()

    def width(self, lanes: int) -> int:
        """Streams that are encoded side by side when `lanes` are needed."""
        width = self.room
        while width % 4 == 0 and width // 4 >= lanes:
            width //= 4
        return width

    def _forward(self, slots: int, lanes: int) -> None:
        tower, memory = self.tower, self.memory
        width, frames = tower.config.width, slots * lanes
        h = memory.states[:, :width]
        memory.counts.zero_()
        memory.reused.zero_()
        starts = memory.starts(slots, lanes)
        self._begin(starts[0].before.reshape(-1), slots, lanes)
        for index, gate in enumerate(self.gates):
            packed = memory.gate(index, slots, lanes)
            self._gate(index, gate, starts[index], packed, frames)
        last, first = starts[-1].after.reshape(-1), memory.first[:frames]
        attend(
            memory.states[:, width:], tower.config.heads, memory.tokens, starts=last, out=first,
            class_only=True,
        )  # fmt: skip
        work = memory.work.first(frames)
        finish_classes(tower, first, h[last], work, memory.embeddings[:frames])
        memory.advance(lanes)

    def _begin(self, starts: Tensor, slots: int, lanes: int) -> None:
        """Embed the frames and compute the first layer's queries, keys and values in full."""
        memory, layer, width = self.memory, self.tower.layer(0), self.tower.config.width
        order, counts = memory.packed_frames(slots, lanes)
        place = torch.arange(memory.tokens, device=starts.device)
        rows = (starts[order][:, None] + place).int().view(-1)
        h, count = memory.states[:, :width], counts[1:]
        self._embedding.write(memory.pixels[: slots * lanes], h, rows, (counts[:1], count))
        work, qkv = memory.work.first(len(rows)), memory.states[:, width:]
        project_rows(layer, h, work, qkv, source=rows, target=rows, count=count)

    def _gate(
        self, index: int, gate: ServedGate, starts: Starts, packed: PackedGroups, frames: int
    ) -> None:
        """Attend, decide, compute the next layer's states of what is kept, correct the rest."""
        memory, config = self.memory, self.tower.config
        _, lanes, tokens = packed.reused.shape
        layer, following = self.tower.layer(index), self.tower.layer(index + 1)
        h, qkv = memory.states[:, : config.width], memory.states[:, config.width :]
        mixed, weights = memory.mixed[: frames * tokens], memory.weights[:frames]
        attend(
            qkv, config.heads, tokens, starts=starts.before.reshape(-1), out=mixed,
            weights=weights,
        )  # fmt: skip
        forced = None if memory.forced is None else memory.forced[index, :frames]
        decide_groups(
            mixed, memory.cached[index, :lanes], weights, self._decisions[index],
            memory.sizes[:lanes], starts, packed, cue=memory.cue[:frames],
            full=memory.full[:lanes], forced=forced,
        )  # fmt: skip
        rows = frames * tokens
        kept, taken = packed.counts[:1], packed.counts[1:]
        work, before, after = memory.work.first(rows), packed.before[:rows], packed.after[:rows]
        finish_rows(
            layer, packed.mixed[:rows], h, work, h, source=before, target=after, count=kept
        )  # fmt: skip
        project_rows(following, h, work, qkv, source=after, target=after, count=kept)
        difference = None if packed.difference is None else packed.difference[:rows]
        correct(
            memory.states, difference, packed.root[:rows], packed.target[:rows],
            gate.down, gate.up, count=taken, narrow=memory.narrow[:rows],
        )  # fmt: skip
