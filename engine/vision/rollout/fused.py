"""Rollout-guided pruning in a frame tower as CUDA graphs: one for each kind of frame."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from engine.errors import UsageError
from engine.vision.backbone.tower import VisionConfig
from engine.vision.fused.capture import capture
from engine.vision.fused.layers import (
    MOST_STREAMS,
    Embedding,
    Workspace,
    finish_classes,
    finish_rows,
    misfit,
    norm_rows,
    project_rows,
    quartered,
)
from engine.vision.fused.upload import upload
from engine.vision.rollout.heat import fill, roll, roll_class
from engine.vision.rollout.stepper import Kind, RolloutPruning, Warmth, mean_keys
from engine.vision.streaming.places import Numbers
from engine.vision.streaming.stepper import Batch, Stepped
from kernels.copy_rows import copy_rows
from kernels.join_heads import join_heads
from kernels.located_attention import attend_located
from kernels.product import product
from kernels.track import track


def misfit_rollout(config: VisionConfig) -> str:
    """What these graphs need and the tower lacks; empty if nothing. Tubelets are no hindrance."""
    if config.layers < 2:
        return "two layers"
    return misfit(replace(config, tubelet=1))


def fused_room(config: VisionConfig, free_bytes: int) -> int:
    """Streams to run side by side: 64, or a quarter until half the memory holds them."""
    row = 2 * (10 * config.width + config.mlp) + 4 * config.layers * config.tokens
    return quartered(MOST_STREAMS, config.tokens * row, free_bytes)


class FusedRollout:
    """As `RolloutPruning`, up to `room` streams side by side over memory planned once.

    How many tokens go on is known beforehand, so that frames of one kind are one graph; fewer of
    them run at the nearest of a few sizes. No head's weights are written out.
    """

    def __init__(self, plain: RolloutPruning, room: int) -> None:
        tower, config, like = plain.tower, plain.tower.config, plain.tower.position
        if reason := misfit_rollout(config):
            raise UsageError(f"a fused forward needs {reason}")
        device, rows = tower.device, room * config.tokens
        self.plain = plain
        self.tower = tower
        self.room: int | None = room
        self._lanes = room
        self._pixels = torch.zeros(room, *config.picture, dtype=torch.uint8, device=device)
        self._places = torch.full((room,), room, dtype=torch.int64, device=device)
        self._embeddings = like.new_zeros(room, config.dimension)
        self._embedding = Embedding(tower, room) if config.tubelet == 1 else None
        self._embedded = like.new_zeros(rows - room, config.width)
        self._work = Workspace.allocate(tower.layer(0), rows)
        self._h, self._mixed, self._packed = like.new_zeros(3, rows, config.width)
        self._qkv = like.new_zeros(rows, 3 * config.width)
        square = config.tokens**2
        self._joined = torch.zeros(config.layers, room * square, device=device)
        # of one more place, which is nobody's: lanes without a frame are of it
        self._table = plain.room_for(room + 1)
        self._graphs: dict[tuple[Kind, int], torch.cuda.CUDAGraph] = {}

    def with_scale(self, scale: float) -> "FusedRollout":
        """Return the same memory, to be used in turn, that drops more patches or fewer."""
        other = copy.copy(self)
        other.plain, other._graphs = self.plain.with_scale(scale), {}
        return other

    def macs(self, computed: Tensor, full: Tensor) -> Tensor:
        """Count as the plain steps do."""
        return self.plain.macs(computed, full)

    def begin(self, places: int) -> None:
        """Refuse more streams than there is room for."""
        if places > self._lanes:
            raise UsageError(f"expected at most {self._lanes} streams, got {places}")

    def load(self, saved: Mapping[int, Warmth]) -> None:
        """Copy what streams left to their places."""
        self._table.load(saved)

    def saved(self, places: Sequence[int]) -> list[Warmth]:
        """Return copies of what these streams left."""
        return self._table.saved(places)

    @torch.inference_mode()
    def step(self, batch: Batch) -> Stepped:
        """Encode frames, those of a kind together."""
        config, device = self.tower.config, self.tower.device
        kinds = self.plain.kinds(self._table.turn(batch.places, batch.full), batch.full)
        out = self._embeddings.new_empty(len(batch.places), config.dimension)
        computed = np.full((len(batch.places), config.layers), config.tokens)
        for kind in Kind:
            those = (kinds == kind.value).nonzero()[0]
            if not len(those):
                continue
            at = upload(torch.from_numpy(those), device)
            pixels = batch.pixels if len(those) == len(kinds) else batch.pixels[at]
            self._run(kind, batch.places[those], pixels)
            out[at] = self._embeddings[: len(those)]
            computed[those, 1:] = self.plain.tokens(kind)
        return Stepped(out, upload(torch.from_numpy(computed), device))

    def _run(self, kind: Kind, places: Numbers, pixels: Tensor) -> None:
        width = self._lanes
        while width % 2 == 0 and width // 2 >= len(places):
            width //= 2
        if (kind, width) not in self._graphs and self.tower.device.type == "cuda":
            self._places.fill_(self._lanes)
            self._graphs[kind, width] = capture(lambda: self._forward(kind, width))
        lanes = np.full(width, self._lanes)
        lanes[: len(places)] = places
        self._places[:width].copy_(upload(torch.from_numpy(lanes), self.tower.device))
        self._pixels[: len(places)].copy_(pixels, non_blocking=True)
        if self.tower.device.type == "cuda":
            return self._graphs[kind, width].replay()
        return self._forward(kind, width)

    def _forward(self, kind: Kind, width: int) -> None:
        """What a graph records: `width` frames of one kind."""
        tower, config = self.tower, self.tower.config
        places = self._places[:width]
        embedded = self._cut(width)
        kept = self._choose(kind, embedded, places)
        h, work = self._begin(embedded), self._work.first(width * config.tokens)
        first, qkv = tower.layer(0), self._qkv[: len(h)]
        project_rows(first, h, work, qkv)
        mixed, matrix = self._attend(qkv, width, 0)
        keys = mean_keys(qkv.view(width, config.tokens, -1)[:, 1:], config.heads)
        rows, tokens = None, config.tokens
        if kept is None:
            finish_rows(first, mixed, h, work, h)
        else:
            rows = torch.cat([kept.new_zeros(width, 1), kept + 1], 1)
            tokens = rows.shape[1]
            starts = torch.arange(width, device=rows.device)[:, None] * config.tokens
            source = (rows + starts).int().flatten()
            own = self._mixed[: len(source)]
            copy_rows(mixed, source, None, out=own)
            h, work = self._packed[: len(source)], self._work.first(len(source))
            finish_rows(first, own, self._h, work, h, source=source)
        row = self._layers(h, width, tokens)
        heat = roll(row, [], matrix, rows)[:, 1:]
        heat = heat / heat.sum(1, keepdim=True) if kept is None else fill(heat, kept, keys)
        self._table.heat[places] = heat
        self._table.embedded[places] = embedded

    def _cut(self, width: int) -> Tensor:
        """Patches embedded, without positions, `[W, P, D]`."""
        pixels, tower = self._pixels[:width], self.tower
        out = self._embedded[: width * (tower.config.tokens - 1)]
        if self._embedding is not None:
            self._embedding.cut(pixels, out)
        else:
            cells = tower.cut(tower.normalise(pixels)).flatten(0, 1)
            product(cells, tower.product.weight, tower.product.bias, out=out)
        return out.view(width, tower.config.tokens - 1, -1)

    def _choose(self, kind: Kind, embedded: Tensor, places: Tensor) -> Tensor | None:
        if kind is not Kind.GUIDED:
            return self.plain.unguided(kind, len(places))
        table, side = self._table, self.tower.config.side
        before = table.embedded[places]
        scores = track(table.heat[places], before, embedded, side, self.plain.reach)
        return self.plain.selection.choose(scores)

    def _begin(self, embedded: Tensor) -> Tensor:
        """Hidden states `[W N, D]` before layer 0."""
        tower = self.tower
        raw = self._packed[: len(embedded) * tower.config.tokens]
        grid = raw.view(len(embedded), tower.config.tokens, -1)
        grid[:, 0] = tower.class_token + tower.position[0]
        torch.add(embedded, tower.position[1:], out=grid[:, 1:])
        h = self._h[: len(raw)]
        return norm_rows(raw, tower.pre, h) if isinstance(tower.pre, nn.LayerNorm) else h.copy_(raw)

    def _attend(self, qkv: Tensor, width: int, index: int) -> tuple[Tensor, Tensor]:
        """P `[W K, D]`, and the heads' joined weights `[W, K, K]`."""
        tokens = len(qkv) // width
        q, k, v = qkv.view(width, tokens, 3, self.tower.config.heads, -1).permute(2, 0, 3, 1, 4)
        mixed, sums = attend_located(q, k, v)
        room = self._joined[index, : width * tokens**2].view(width, tokens, tokens)
        return mixed.flatten(0, 1), join_heads(q, k, sums, out=room)

    def _layers(self, h: Tensor, width: int, tokens: int) -> Tensor:
        """Run layers 1 and on of packed rows; return the rollout down to layer 1, `[W, K]`."""
        tower, config, work = self.tower, self.tower.config, self._work.first(len(h))
        qkv, joined = self._qkv[: len(h)], []
        for index in range(1, config.layers - 1):
            layer = tower.layer(index)
            project_rows(layer, h, work, qkv)
            mixed, matrix = self._attend(qkv, width, index)
            joined.append(matrix)
            finish_rows(layer, mixed, h, work, h)
        last = tower.layer(config.layers - 1)
        project_rows(last, h, work, qkv)
        q, k, v = qkv.view(width, tokens, 3, config.heads, -1).permute(2, 0, 3, 1, 4)
        mixed, sums = attend_located(q[:, :, :1], k, v)
        weights = join_heads(q[:, :, :1], k, sums)[:, 0]
        first = self._mixed[:width].copy_(mixed[:, 0])
        out = self._embeddings[:width]
        finish_classes(tower, first, h[::tokens], self._work.first(width), out)
        return roll_class(weights, joined)
