"""The emulated baselines' steps as CUDA graphs, with nothing read by the host."""

import copy

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.vision.backbone.tower import VisionTower
from engine.vision.emulated.macs import step_macs
from engine.vision.emulated.rules import ChangeRule
from engine.vision.fused.lanes import Lanes, Present
from engine.vision.fused.layers import finish_classes, finish_rows, project_rows
from engine.vision.streaming.references import References, ReferenceTable
from engine.vision.streaming.stepper import Batch, Stepped
from engine.vision.streaming.tabled import Tabled
from kernels.attention import attend
from kernels.change import measure_change
from kernels.choose_rows import choose_rows
from kernels.copy_rows import copy_rows


class FusedEmulated(Tabled[References]):
    """Steps of up to `room` streams, their references kept in place; the rule is `Emulated`'s."""

    _table: ReferenceTable

    def __init__(self, tower: VisionTower, rule: ChangeRule, room: int) -> None:
        config = tower.config
        self.tower = tower
        self.rule = rule
        self.room: int | None = room
        self._lanes = Lanes(tower, room)
        self._table = ReferenceTable.empty(room, config, tower.position)
        self._qkv = tower.position.new_zeros(room * config.tokens, 3 * config.width)
        self._limit = torch.zeros(1, device=tower.device)
        shape = (config.layers - 1, room)
        self._numbers = torch.zeros(shape, dtype=torch.int32, device=tower.device)
        self._count = torch.zeros(shape[0], 1, dtype=torch.int32, device=tower.device)

    def with_scale(self, scale: float) -> "FusedEmulated":
        """Return the same memory and graphs, to be used in turn, that reuse more or less."""
        other = copy.copy(self)
        other.rule = self.rule.with_scale(scale)
        return other

    def begin(self, places: int) -> None:
        """Set the limit of the steps to come."""
        self._lanes.check(places)
        self._limit.fill_(self.rule.limit)

    @torch.inference_mode()
    def step(self, batch: Batch) -> Stepped:
        """Encode one frame of each stream; the host waits for nothing."""
        order = self._lanes.put(batch.places, batch.full, batch.pixels)
        self.run(int(batch.places.max()) + 1)
        computed = self._numbers[:, order].long().T
        tokens = self.tower.config.tokens
        return Stepped(self._lanes.embeddings[order], F.pad(computed, (1, 0), value=tokens))

    def run(self, lanes: int) -> None:
        """Encode what the last step gave, again if that is asked."""
        self._lanes.run(lanes, self._forward)

    def macs(self, computed: Tensor, full: Tensor) -> Tensor:
        """Count as the plain steps do."""
        return step_macs(self.tower.config, computed, full)

    def _forward(self, width: int) -> None:
        tower, config, lanes = self.tower, self.tower.config, self._lanes
        self._count.zero_()
        self._numbers.zero_()
        present = lanes.begin(width)
        rows = width * config.tokens
        h, qkv = lanes.h[:rows], self._qkv[:rows]
        whole = {"source": present.rows, "target": present.rows, "count": present.counts[1]}
        project_rows(tower.layer(0), h, lanes.work, qkv, **whole)
        for index in range(config.layers - 1):
            h, qkv = self._gate(index, h, qkv, present)
        attend(
            qkv, config.heads, config.tokens, starts=present.starts, out=lanes.first[:width],
            class_only=True,
        )  # fmt: skip
        finish_classes(
            tower, lanes.first[:width], h[:: config.tokens], lanes.work.first(width),
            lanes.embeddings[:width],
        )  # fmt: skip

    def _gate(self, index: int, h: Tensor, qkv: Tensor, present: Present) -> tuple[Tensor, Tensor]:
        """The next layer's h, queries, keys and values, of mixed age, where they are kept."""
        config, lanes, layer = self.tower.config, self._lanes, self.tower.layer(index)
        rows, width = len(h), len(present.there)
        mixed, chosen, count = lanes.mixed[:rows], lanes.chosen[:rows], self._count[index]
        attend(qkv, config.heads, config.tokens, starts=present.starts, out=mixed)
        kept = self._table.mixed[index].view(-1, config.width)[:rows]
        distance = measure_change(
            mixed, kept, present.there, absolute=not self.rule.ranked, out=lanes.distance[:width]
        )
        choose_rows(
            distance, self._limit, present.there, present.full, chosen, count,
            self._numbers[index, :width], ranked=self.rule.ranked,
        )  # fmt: skip
        copy_rows(mixed, chosen, chosen, out=kept, count=count)
        copy_rows(mixed, chosen, None, out=lanes.packed, count=count)
        states = self._table.states[index].view(-1, 4 * config.width)[:rows]
        new, following = states[:, : config.width], states[:, config.width :]
        placed = {"source": chosen, "target": chosen, "count": count}
        work = lanes.work.first(rows)
        finish_rows(layer, lanes.packed[:rows], h, work, new, **placed)
        project_rows(self.tower.layer(index + 1), new, work, following, **placed)
        return new, following
