"""Eventful's forward: three gates in each layer, each of which lets r tokens through."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from engine.errors import UsageError
from engine.vision.backbone.tower import VisionTower
from engine.vision.eventful.buffers import Buffers
from engine.vision.eventful.macs import scaled_r, step_macs
from engine.vision.eventful.products import attend
from engine.vision.streaming.stepper import Batch, Stepped
from engine.vision.streaming.tabled import Tabled


@dataclass(slots=True)
class Eventful(Tabled[Buffers]):
    """Steps in plain PyTorch on any device.

    The residual stream is always the current frame's; what a gate holds back is stale only in what
    its layer adds. Of the last layer the class token alone goes on, where there is one.
    """

    tower: VisionTower
    r: int  # tokens that each gate lets through
    products: bool = True  # attention by its changes too, else made anew
    keep_class: bool = True  # the class token is one of them
    room: int | None = field(default=None, init=False)
    _table: Buffers = field(init=False)

    def __post_init__(self) -> None:
        if self.r < 1:
            raise UsageError(f"r must be 1 token or more, got {self.r}")
        self.r = min(self.r, self.tower.config.tokens)

    def with_scale(self, scale: float) -> "Eventful":
        """Hold that many times as many tokens back; at 0 none."""
        return replace(self, r=scaled_r(self.tower.config, self.r, scale))

    def begin(self, places: int) -> None:
        """Make room for that many streams."""
        config, like = self.tower.config, self.tower.position
        self._table = Buffers.empty(places, config, like, products=self.products)

    def step(self, batch: Batch) -> Stepped:
        """Encode one frame of each stream, full ones apart from the others."""
        config, device = self.tower.config, self.tower.device
        places = torch.from_numpy(batch.places).to(device)
        full = torch.from_numpy(batch.full).to(device)
        h = self.tower.embed(self.tower.normalise(batch.pixels))
        embeddings = h.new_empty(len(h), config.dimension)
        for whole in (True, False):
            those = (full == whole).nonzero().squeeze(1)
            if len(those):
                embeddings[those] = self._encode(h[those], places[those], full=whole)
        computed = torch.where(full, config.tokens, self.r)
        return Stepped(embeddings, computed[:, None].expand(-1, config.layers))

    def _encode(self, h: Tensor, places: Tensor, *, full: bool) -> Tensor:
        config = self.tower.config
        for index in range(config.layers):
            layer, kept = self.tower.layer(index), self._table.taken(index, places)
            rows = self._gate(
                layer.norm1(h), kept.seen, kept.qkv, layer.qkv, full=full, turn=layer.turn
            )
            mixed = attend(kept, rows) if self.products else layer.attend(kept.qkv)
            if index == config.layers - 1 and config.by_class:
                h = layer.finish(h[:, 0], mixed[:, 0])
            else:
                self._gate(mixed, kept.attended, kept.out, layer.out, full=full)
                h = h + kept.out
                self._gate(layer.norm2(h), kept.normed, kept.mlp, layer.mlp, full=full)
                h = h + kept.mlp
            self._table.put(index, places, kept)
        return self.tower.finish(h)

    def _gate(
        self,
        values: Tensor,
        seen: Tensor,
        buffer: Tensor,
        compute: Callable[[Tensor], Tensor],
        *,
        full: bool,
        turn: Callable[[Tensor, Tensor | None], Tensor] | None = None,
    ) -> Tensor | None:
        """Let the rows through that changed most, and buffer what is computed of them."""
        if full:
            seen.copy_(values)
            made = compute(values)
            buffer.copy_(turn(made, None) if turn else made)
            return None
        rows = self._changed(values, seen)
        at = rows[..., None].expand(-1, -1, values.shape[-1])
        passed = values.gather(1, at)
        seen.scatter_(1, at, passed)
        made = turn(compute(passed), rows) if turn else compute(passed)
        buffer.scatter_(1, rows[..., None].expand_as(made), made)
        return rows

    def _changed(self, values: Tensor, seen: Tensor) -> Tensor:
        """The r tokens that are farthest from what was last let through: `[T, r]`."""
        distance = torch.linalg.vector_norm(values.float() - seen.float(), dim=-1)
        if self.keep_class and self.tower.config.class_token:
            distance[:, 0] = torch.inf
        return distance.topk(self.r, dim=1).indices

    def macs(self, computed: Tensor, full: Tensor) -> Tensor:
        """Multiply-accumulates `[F]`; those of gates and sums, one for each value, among them."""
        return step_macs(self.tower.config, computed, full, products=self.products)
