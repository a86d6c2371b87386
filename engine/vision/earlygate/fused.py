"""The early gate's whole forward of a group as one CUDA graph, with nothing read by the host."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.errors import UsageError
from engine.vision.backbone.tower import VisionTower
from engine.vision.earlygate.forward import SOURCES
from engine.vision.earlygate.learned import LearnedLimits
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.earlygate.memory import SLOTS, GateMemory
from engine.vision.earlygate.roots import Roots
from engine.vision.fused.capture import capture
from engine.vision.fused.layers import (
    Embedding,
    check_tower,
    finish_classes,
    finish_rows,
    multiply,
    project_rows,
)
from engine.vision.fused.upload import upload
from engine.vision.streaming.places import Flags, Numbers
from engine.vision.streaming.stepper import Batch, Stepped
from kernels.attention import attend
from kernels.copy_rows import copy_rows
from kernels.gated_attention import gated_attention
from kernels.narrow import Compared, Norm, narrow
from kernels.pool_keys import pool_keys
from kernels.product import product


@dataclass(slots=True)
class FusedGate:
    """Steps of up to `room` streams side by side, with their roots kept in place.

    The graph is captured once; how many frames a step has, and how many of their tokens are
    computed, is read on the device. A tower without a class token is not supported.
    """

    tower: VisionTower
    limits: FixedLimits | LearnedLimits
    room: int = 64
    forced: bool = False
    memory: GateMemory = field(init=False)
    _embedding: Embedding = field(init=False)
    _gated: Tensor = field(init=False)
    _graph: torch.cuda.CUDAGraph | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        check_tower(self.tower)
        config = self.tower.config
        self.memory = GateMemory.allocate(
            self.tower, self.room, self.limits.width(config), forced=self.forced
        )
        self._embedding = Embedding(self.tower, self.memory.frames)
        gates = [index - 1 for index in self.limits.gates]
        self._gated = torch.tensor(gates, dtype=torch.long, device=self.tower.device)
        if self.tower.device.type == "cuda":
            self._graph = capture(self._forward)

    def limited(self, limits: FixedLimits | LearnedLimits) -> "FusedGate":
        """Return the same memory and graph, to be used in turn, with other thresholds.

        Of the limits nothing else may vary.
        """
        other = copy(self)
        other.limits = limits
        return other

    def begin(self, places: int) -> None:
        """Set the thresholds of the steps to come, of up to `room` streams."""
        if places > self.room:
            raise UsageError(f"expected at most {self.room} streams, got {places}")
        limits = self.limits
        base = limits.base if isinstance(limits, LearnedLimits) else limits
        thresholds = torch.tensor(base.thresholds).view(-1, 1, 1, 1)
        self.force(torch.where(thresholds < 0, -1.0, thresholds * base.scale))

    def load(self, saved: Mapping[int, Roots]) -> None:
        """Copy streams' roots in; one without any starts with a full frame."""
        memory, cached = self.memory, self.memory.table[:, self.tower.config.width :]
        for (compared, rows), roots in zip(self._rows(list(saved)), saved.values(), strict=True):
            given, kept = roots.compared.to(memory.h), roots.keys_values.to(memory.h)
            copy_rows(given.flatten(0, 1), None, compared, out=memory.roots)
            copy_rows(kept.flatten(0, 1), None, rows, out=cached)

    def force(self, thresholds: Tensor) -> None:
        """Set the thresholds, `[L - 1, 4, B, N]` or fewer of each, for the next steps."""
        self.memory.thresholds.copy_(thresholds)

    def saved(self, places: Sequence[int]) -> list[Roots]:
        """Return copies of these streams' roots, in the order of layers and positions."""
        memory, width, copies = self.memory, self.tower.config.width, []
        for compared, rows in self._rows(places):
            given = memory.roots.new_empty(len(compared), memory.roots.shape[1])
            kept = memory.table.new_empty(len(rows), 2 * width)
            copy_rows(memory.roots, compared, None, out=given)
            copy_rows(memory.table[:, width:], rows, None, out=kept)
            copies.append(
                Roots(
                    given.unflatten(0, (-1, memory.tokens)),
                    kept.unflatten(0, (-1, memory.tokens)),
                    memory.h.new_empty(0, memory.tokens, width),
                )
            )
        return copies

    def _rows(self, places: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """Table rows of streams' roots, of the gated layers and of all, for each place."""
        if not places:
            return []
        root = self.memory.root[:, upload(torch.tensor(places), self.tower.device)]
        chosen = (root[self._gated], root)
        return list(
            zip(*(rows.transpose(0, 1).flatten(1).unbind(0) for rows in chosen), strict=True)
        )

    def step(self, batch: Batch) -> Stepped:
        """Encode frames; the host waits for nothing if their pixels are pinned or on the device."""
        memory, num = self.memory, len(batch.slots)
        words = self._control(batch.slots * self.room + batch.places, batch.full)
        memory.control.copy_(upload(words, memory.control.device))
        memory.pixels[:num].copy_(batch.pixels, non_blocking=True)
        self.run()
        order = memory.placing[2][:num].long()
        computed = memory.num_queries[:, order].T
        return Stepped(memory.embeddings[order], F.pad(computed, (1, 0), value=memory.tokens))

    def run(self) -> None:
        """Encode what the last step's words and pixels say, again if that is asked."""
        if self._graph is None:
            self._forward()
        else:
            self._graph.replay()

    def _control(self, order: Numbers, whole: Flags) -> Tensor:
        """Lay out a step's control words, for frames in that order."""
        memory, num = self.memory, len(order)
        words = np.zeros(2 + 3 * memory.frames, np.int32)
        words[:2] = num * (memory.tokens - 1), num * memory.tokens
        place, full, listed = words[2:].reshape(3, -1)
        place.fill(-1)
        place[order] = np.arange(num)
        full[order] = whole
        listed[:num] = order
        return torch.from_numpy(words)

    def _forward(self) -> None:
        config, memory = self.tower.config, self.memory
        self._begin()
        counts = memory.count[:1], memory.count[1:2]
        self._embedding.write(memory.pixels, memory.h, counts=counts)
        layer, count = self.tower.layer(0), memory.count[1:2]
        project_rows(layer, memory.h, memory.work, memory.fresh, count=count)
        attend(memory.fresh, config.heads, config.tokens, starts=memory.starts(), out=memory.mixed)
        finish_rows(layer, memory.mixed, memory.h, memory.work, memory.h, count=count)
        for index in range(1, config.layers):
            self._gate(index)
            last = index == config.layers - 1
            pool_keys(memory.page, memory.row_of, memory.pool)
            gated_attention(
                memory.table, memory.page, memory.packed_of(index - 1), memory.pool, config.heads,
                memory.mixed, class_only=last,
            )  # fmt: skip
            if not last:
                finish_rows(
                    self.tower.layer(index), memory.mixed, memory.h, memory.work, memory.h,
                    source=memory.origin, count=memory.count[index + 1 : index + 2],
                )  # fmt: skip
        # class tokens are the first packed rows
        first, work = memory.mixed[: memory.frames], memory.work.first(memory.frames)
        finish_classes(
            self.tower, first, memory.h, work, memory.embeddings,
            source=memory.origin[: memory.frames],
        )  # fmt: skip

    def _begin(self) -> None:
        """Set the counts, and every token of the frames that are there as computed."""
        memory = self.memory
        place, whole, _ = memory.placing
        memory.count[:2] = memory.control[:2]
        memory.count[2:] = memory.frames
        memory.num_queries.fill_(1)
        there = place[:, :, None] >= 0
        at = torch.arange(memory.tokens, dtype=torch.int32, device=place.device)
        memory.row_of.copy_((place[:, :, None] * memory.tokens + at).where(there, -1))
        own = torch.arange(1, SLOTS + 1, dtype=torch.int32, device=place.device)
        memory.follows.copy_(own[:, None, None].where(there, 0).expand_as(memory.follows))
        memory.limits.copy_(memory.thresholds.masked_fill(whole[None, :, :, None] > 0, -1.0))

    def _gate(self, index: int) -> None:
        """Decide at the input of a layer, and project what is still computed."""
        memory, layer, gate = self.memory, self.tower.layer(index), index - 1
        compared = Compared(memory.h, memory.roots, self._per_token(gate))
        if isinstance(self.limits, LearnedLimits):
            assert memory.keys is not None
            projection = self.limits.projection[gate]
            product(memory.h, projection, out=memory.keys, count=memory.count[index : index + 1])
            compared = Compared(
                memory.keys, memory.roots, self._per_token(gate), self.limits.weight[gate],
                self.limits.bias[gate],
            )  # fmt: skip
        packed = memory.packed_of(gate)
        norm = Norm(layer.norm1.weight, layer.norm1.bias, layer.norm1.eps)
        narrow(memory.h, compared, memory.tokens_of(gate), packed, norm, SOURCES)
        multiply(
            packed.normed, layer.qkv, units=packed.units, out=memory.table, target=packed.target,
            count=packed.count,
        )  # fmt: skip

    def _per_token(self, gate: int) -> Tensor:
        return self.memory.limits[gate].expand_as(self.memory.row_of)
