"""Eventful's tokenwise steps as CUDA graphs, with nothing read by the host."""

import copy

import numpy as np
import torch
from torch import Tensor, nn

from engine.vision.backbone.tower import Layer, VisionTower
from engine.vision.eventful.buffers import Buffers
from engine.vision.eventful.macs import scaled_r, step_macs
from engine.vision.fused.lanes import Lanes, Present
from engine.vision.fused.layers import feed_rows, finish_classes, multiply, norm_rows
from engine.vision.fused.upload import upload
from engine.vision.streaming.stepper import Batch, Stepped
from engine.vision.streaming.tabled import Tabled
from kernels.attention import attend
from kernels.change import measure_change
from kernels.choose_rows import choose_rows
from kernels.copy_rows import copy_rows
from kernels.narrow import Norm


class FusedEventful(Tabled[Buffers]):
    """Steps of up to `room` streams, their buffers kept in place; attention is made anew.

    The gates are those of `Eventful` with `products` off.
    """

    def __init__(self, tower: VisionTower, r: int, room: int, *, keep_class: bool = True) -> None:
        config = tower.config
        self.tower = tower
        self.r = min(r, config.tokens)
        self.keep_class = keep_class
        self.room: int | None = room
        self._lanes = Lanes(tower, room)
        self._table = Buffers.empty(room, config, tower.position, products=False)
        self._limit = torch.zeros(1, device=tower.device)
        gates = config.layers * 3
        self._numbers = torch.zeros(gates, room, dtype=torch.int32, device=tower.device)
        self._count = torch.zeros(gates, 1, dtype=torch.int32, device=tower.device)

    def with_scale(self, scale: float) -> "FusedEventful":
        """Return the same memory and graphs, to be used in turn, that hold back more or fewer."""
        other = copy.copy(self)
        other.r = scaled_r(self.tower.config, self.r, scale)
        return other

    def begin(self, places: int) -> None:
        """Set how many tokens pass in the steps to come."""
        self._lanes.check(places)
        self._limit.fill_(float(self.r))

    @torch.inference_mode()
    def step(self, batch: Batch) -> Stepped:
        """Encode one frame of each stream; the host waits for nothing."""
        config = self.tower.config
        order = self._lanes.put(batch.places, batch.full, batch.pixels)
        self.run(int(batch.places.max()) + 1)
        passed = np.where(batch.full, config.tokens, self.r)
        computed = upload(torch.from_numpy(passed), self.tower.device)
        return Stepped(self._lanes.embeddings[order], computed[:, None].expand(-1, config.layers))

    def run(self, lanes: int) -> None:
        """Encode what the last step gave, again if that is asked."""
        self._lanes.run(lanes, self._forward)

    def macs(self, computed: Tensor, full: Tensor) -> Tensor:
        """Count as the plain steps do."""
        return step_macs(self.tower.config, computed, full, products=False)

    def _forward(self, width: int) -> None:
        tower, config, lanes = self.tower, self.tower.config, self._lanes
        self._count.zero_()
        self._numbers.zero_()
        present = lanes.begin(width)
        gained: Tensor | None = None  # by the MLP of the layer before
        for index in range(config.layers):
            layer = tower.layer(index)
            qkv = self._project(index, layer, gained, present)
            if index == config.layers - 1:
                break
            attend(
                qkv, config.heads, config.tokens, starts=present.starts,
                out=lanes.mixed[: len(qkv)],
            )  # fmt: skip
            gained = self._finish(index, layer, present)
        first = lanes.first[:width]
        attend(qkv, config.heads, config.tokens, starts=present.starts, out=first, class_only=True)
        h, work = lanes.h[: len(qkv) : config.tokens], lanes.work.first(width)
        finish_classes(tower, first, h, work, lanes.embeddings[:width])

    def _project(self, index: int, layer: Layer, gained: Tensor | None, present: Present) -> Tensor:
        """Gate 1: queries, keys and values of the tokens that pass; all that are kept."""
        lanes, (qkv, seen) = self._lanes, self._kept(index, present, "qkv", "seen")
        chosen, count = self._pass(3 * index, lanes.h, seen, present, gained, layer.norm1)
        self._take_normed(layer.norm1, seen, chosen, count)
        work = lanes.work.first(len(chosen))
        return multiply(work.normed, layer.qkv, units=work.units, out=qkv, target=chosen,
                        count=count)  # fmt: skip

    def _finish(self, index: int, layer: Layer, present: Present) -> Tensor:
        """Gates 2 and 3: out-projection, then MLP; what the latter adds, still to be added."""
        lanes = self._lanes
        out, attended = self._kept(index, present, "out", "attended")
        chosen, count = self._pass(3 * index + 1, lanes.mixed, attended, present, None, None)
        copy_rows(lanes.mixed, chosen, chosen, out=attended, count=count)
        copy_rows(lanes.mixed, chosen, None, out=lanes.packed, count=count)
        packed = lanes.packed[: len(chosen)]
        multiply(packed, layer.out, out=out, target=chosen, count=count)
        mlp, normed = self._kept(index, present, "mlp", "normed")
        chosen, count = self._pass(3 * index + 2, lanes.h, normed, present, out, layer.norm2)
        self._take_normed(layer.norm2, normed, chosen, count)
        return feed_rows(layer, lanes.work.first(len(chosen)), mlp, target=chosen, count=count)

    def _kept(self, index: int, present: Present, *names: str) -> tuple[Tensor, ...]:
        """Buffers of a layer, `[B N, *]`."""
        rows = len(present.rows)
        return tuple(getattr(self._table, name)[index].flatten(0, 1)[:rows] for name in names)

    def _pass(
        self,
        gate: int,
        values: Tensor,
        seen: Tensor,
        present: Present,
        added: Tensor | None,
        norm: nn.LayerNorm | None,
    ) -> tuple[Tensor, Tensor]:
        """Rows of the tokens that changed most, and their number."""
        lanes, rows, width = self._lanes, len(seen), len(present.there)
        compared = None if norm is None else Norm(norm.weight, norm.bias, norm.eps)
        distance = measure_change(
            values[:rows], seen, present.there, added=added, norm=compared,
            out=lanes.distance[:width],
        )  # fmt: skip
        chosen, count = lanes.chosen[:rows], self._count[gate]
        choose_rows(
            distance, self._limit, present.there, present.full, chosen, count,
            self._numbers[gate, :width], ranked=True, keep_first=self.keep_class,
        )  # fmt: skip
        return chosen, count

    def _take_normed(self, norm: nn.LayerNorm, seen: Tensor, chosen: Tensor, count: Tensor) -> None:
        """Norm the rows that pass, packed, and keep them as what was last let through."""
        h, work = self._lanes.h, self._lanes.work.first(len(chosen))
        norm_rows(h, norm, work.normed, units=work.units, source=chosen, count=count)
        norm_rows(h, norm, seen, source=chosen, target=chosen, count=count)
