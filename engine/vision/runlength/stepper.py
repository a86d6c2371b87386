"""Run-length tokens in a frame tower: a patch that repeats keeps the row of its run's first."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.vision.backbone.macs import (
    attend_macs,
    dense_macs,
    embed_macs,
    finish_macs,
    head_macs,
    project_macs,
)
from engine.vision.backbone.tower import Layer, VisionTower
from engine.vision.runlength.live import LiveRows
from engine.vision.runlength.mask import THRESHOLD, patch_changes
from engine.vision.streaming.stepper import Batch, Stepped
from engine.vision.streaming.tabled import Tabled


@dataclass(slots=True)
class RunLength(Tabled[LiveRows]):
    """Steps in plain PyTorch on any device, the kept rows of all streams packed.

    A dropped patch costs nothing in any layer: its newest key and value stand for it. The class
    token is computed in every frame; of the last layer it alone goes on, where there is one.
    """

    tower: VisionTower
    threshold: float = THRESHOLD  # below 0 all is computed
    anchor: bool = False  # compare with the run's first frame, else with the frame before
    room: int | None = field(default=None, init=False)
    _table: LiveRows = field(init=False)

    def with_scale(self, scale: float) -> "RunLength":
        """Multiply the threshold; at 0 nothing is dropped."""
        return replace(self, threshold=self.threshold * scale if scale > 0 else -1.0)

    def begin(self, places: int) -> None:
        """Make room for that many streams."""
        self._table = LiveRows.empty(places, self.tower.config, self.tower.position)

    def step(self, batch: Batch) -> Stepped:
        """Encode one frame of each stream, its kept rows alone."""
        config, device = self.tower.config, self.tower.device
        places = torch.from_numpy(batch.places).to(device)
        full = torch.from_numpy(batch.full).to(device)
        kept = self._kept(batch.pixels, places, full)  # [T, P]
        special = kept.new_ones(len(kept), int(config.class_token))
        frames, tokens = torch.cat([special, kept], 1).nonzero(as_tuple=True)
        counts = kept.sum(1) + int(config.class_token)
        h = self._embed(batch.pixels, kept, frames, tokens)
        is_patch = tokens >= int(config.class_token)
        homes = places[frames[is_patch]], tokens[is_patch] - int(config.class_token)
        for index in range(config.layers):
            layer, rows = self.tower.layer(index), self._table.rows[index]
            qkv = layer.project(h, tokens)
            rows[homes] = qkv[is_patch, config.width :]
            mixed = self._attend(layer, qkv, rows[places], counts.tolist())
            if index == config.layers - 1 and config.by_class:
                h, mixed = h[~is_patch], mixed[~is_patch]
            h = layer.finish(h, mixed)
        if not config.by_class:
            self._table.outputs[homes] = h[is_patch]
            own = h[~is_patch].view(len(places), int(config.class_token), config.width)
            h = torch.cat([own, self._table.outputs[places]], 1)
        computed = counts[:, None].expand(-1, config.layers)
        return Stepped(self.tower.finish(h), computed)

    def _kept(self, pixels: Tensor, places: Tensor, full: Tensor) -> Tensor:
        """Which patches are computed, `[T, P]`; what the next frames are compared with is kept."""
        config, before = self.tower.config, self._table.pixels[places]
        change = patch_changes(pixels, before, config.patch).flatten(1)
        kept = (change > self.threshold) | full[:, None]
        if self.anchor:
            grid = kept.view(-1, 1, config.side, config.side)
            shown = grid.repeat_interleave(config.patch, 2).repeat_interleave(config.patch, 3)
            pixels = torch.where(shown, pixels, before)
        self._table.pixels[places] = pixels
        return kept

    def _embed(self, pixels: Tensor, kept: Tensor, frames: Tensor, tokens: Tensor) -> Tensor:
        """Rows h_0 `[R, D]` of the tokens computed; no other patch is multiplied."""
        tower = self.tower
        embedded = tower.patch(tower.cut(tower.normalise(pixels))[kept])
        if not tower.config.class_token:
            return tower.pre(embedded + tower.position[tokens])
        h = tower.class_token.expand(len(frames), -1).clone()
        h[tokens > 0] = embedded
        return tower.pre(h + tower.position[tokens])

    def _attend(self, layer: Layer, qkv: Tensor, live: Tensor, counts: Sequence[int]) -> Tensor:
        """Pre-projections `[R, D]`: each frame's queries over its class token and all places."""
        width, heads = self.tower.config.width, layer.heads
        mixed = []
        for own, others in zip(qkv.split(list(counts)), live, strict=True):
            if self.tower.config.class_token:
                others = torch.cat([own[:1, width:], others])
            q = own[:, :width].view(len(own), heads, width // heads).transpose(0, 1)
            k, v = others.view(len(others), 2, heads, width // heads).permute(1, 2, 0, 3)
            out = F.scaled_dot_product_attention(q[None], k[None], v[None])[0]
            mixed.append(out.transpose(0, 1).reshape(len(own), width))
        return torch.cat(mixed)

    def macs(self, computed: Tensor, full: Tensor) -> Tensor:
        """Multiply-accumulates `[F]`; that of deciding, one for each byte, among them."""
        config, rows = self.tower.config, computed.double().sum(1)
        special = int(config.class_token)
        one = project_macs(config, 1) + attend_macs(config, 1)
        last = computed[:, -1].double()
        tail = float(finish_macs(config, 1)) if config.by_class else last * finish_macs(config, 1)
        kept = last - special
        runs = (
            kept * (embed_macs(config) // config.side**2)
            + rows * one
            + (rows - last) * finish_macs(config, 1)
            + tail
            + head_macs(config)
        )
        return torch.where(full, float(dense_macs(config)), runs + 3 * config.image_size**2)
