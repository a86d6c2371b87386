"""Rollout-guided pruning in a frame tower: from layer 0 on, only what the last frame pointed to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
import torch
from torch import Tensor

from engine.errors import UsageError
from engine.vision.backbone.macs import (
    attend_macs,
    dense_macs,
    embed_macs,
    finish_macs,
    head_macs,
    mlp_macs,
    out_macs,
    project_macs,
)
from engine.vision.backbone.tower import AttentionPool, VisionConfig, VisionTower
from engine.vision.rollout.heat import fill, fuse, roll
from engine.vision.rollout.select import Grid, PatchShares, grid_patches
from engine.vision.streaming.places import Flags, Numbers
from engine.vision.streaming.stepper import Batch, Stepped
from kernels.track import track_reference


class Kind(Enum):
    """What is kept of a frame."""

    FULL = 0  # all
    GRID = 1  # a grid of patches, whatever was before
    GUIDED = 2  # what the frame before pointed to


@dataclass(frozen=True, slots=True)
class Warmth:
    """Of one stream, or of streams side by side: what the last frame left for the next."""

    heat: Tensor  # float32 [P], sums to 1
    embedded: Tensor  # [P, D], patches before positions are added
    age: Tensor  # int64 [], frames since the stream began; on the host

    def load(self, saved: "Mapping[int, Warmth]") -> None:
        """Copy what streams left to their places."""
        for place, left in saved.items():
            self.heat[place] = left.heat
            self.embedded[place] = left.embedded
            self.age[place] = left.age

    def saved(self, places: Sequence[int]) -> "list[Warmth]":
        """Return copies of what these streams left."""
        return [
            Warmth(self.heat[at].clone(), self.embedded[at].clone(), self.age[at].clone())
            for at in places
        ]

    def turn(self, places: Numbers, full: Flags) -> Numbers:
        """Age of streams as their next frames begin; a full one begins anew."""
        own = self.age.numpy()
        own[places[full]] = 0
        found = own[places]
        own[places] += 1
        return found


@dataclass(slots=True)
class RolloutPruning:
    """Steps in plain PyTorch on any device, one frame of each stream at a time.

    A full frame keeps all. Every `every`-th frame is a reset: full by the schedule, or on a grid
    here. What is dropped is gone for the rest of its frame; nothing old stands for it.
    """

    tower: VisionTower
    selection: PatchShares = field(default_factory=PatchShares)
    every: int = 8
    reset: Grid = "full"
    reach: int = 1  # places that a patch may move from frame to frame
    room: int | None = field(default=None, init=False)
    _table: Warmth = field(init=False)
    _grid: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self._grid = grid_patches(self.reset, self.tower.config.side).to(self.tower.device)
        if self.every < 0 or self.reach < 0:
            wrong = ("every", self.every) if self.every < 0 else ("reach", self.reach)
            raise UsageError(f"{wrong[0]} must be 0 or more, got {wrong[1]}")

    def with_scale(self, scale: float) -> "RolloutPruning":
        """Drop that many times as many patches; at 0 none, in resets neither."""
        reset: Grid = self.reset if scale > 0 else "full"
        return replace(self, selection=self.selection.scaled(scale), reset=reset)

    def begin(self, places: int) -> None:
        """Make room for that many streams."""
        self._table = self.room_for(places)

    def room_for(self, places: int) -> Warmth:
        """Allocate what that many streams leave."""
        config, like = self.tower.config, self.tower.position
        patches = config.side**2
        return Warmth(
            like.new_zeros(places, patches, dtype=torch.float32),
            like.new_zeros(places, patches, config.width),
            torch.zeros(places, dtype=torch.int64),
        )

    def load(self, saved: Mapping[int, Warmth]) -> None:
        """Copy what streams left to their places."""
        self._table.load(saved)

    def saved(self, places: Sequence[int]) -> list[Warmth]:
        """Return copies of what these streams left."""
        return self._table.saved(places)

    def kinds(self, turn: Numbers, full: Flags) -> Numbers:
        """Kind of each frame, by the age of its stream."""
        gridded = self._gridded() & (turn % max(self.every, 1) == 0)
        other = np.where(gridded, Kind.GRID.value, Kind.GUIDED.value)
        return np.where(full, Kind.FULL.value, other)

    def tokens(self, kind: Kind) -> int:
        """Tokens that go on from layer 0's attention."""
        config = self.tower.config
        special = int(config.class_token)
        if kind is Kind.FULL:
            return config.tokens
        return special + (
            len(self._grid) if kind is Kind.GRID else self.selection.count(config.side**2)
        )

    def step(self, batch: Batch) -> Stepped:
        """Encode frames, those that keep equally many together."""
        config, device = self.tower.config, self.tower.device
        places = torch.from_numpy(batch.places).to(device)
        kinds = self.kinds(self._table.turn(batch.places, batch.full), batch.full)
        values = self.tower.normalise(batch.pixels)
        embedded = self.tower.patch(self.tower.cut(values))
        out = embedded.new_empty(len(places), config.dimension)
        computed = torch.full((len(places), config.layers), config.tokens, device=device)
        for kind in Kind:
            if not len(found := (kinds == kind.value).nonzero()[0]):
                continue
            those = torch.from_numpy(found).to(device)
            kept = self._choose(kind, embedded[those], places[those])
            out[those], self._table.heat[places[those]] = self._encode(embedded[those], kept)
            computed[those, 1:] = self.tokens(kind)
        self._table.embedded[places] = embedded
        return Stepped(out, computed)

    def _gridded(self) -> bool:
        return self.reset != "full" and self.every > 0

    def unguided(self, kind: Kind, count: int) -> Tensor | None:
        """Patches `[count, kept]` of frames that nothing guides; None: all of them."""
        return None if kind is Kind.FULL else self._grid.expand(count, -1)

    def _choose(self, kind: Kind, now: Tensor, places: Tensor) -> Tensor | None:
        """Patches that are kept `[T, kept]`; None: all of them."""
        if kind is not Kind.GUIDED:
            return self.unguided(kind, len(now))
        table, side = self._table, self.tower.config.side
        scores = track_reference(table.heat[places], table.embedded[places], now, side, self.reach)
        return self.selection.choose(scores)

    def _encode(self, embedded: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor]:
        """Embeddings `[T, E]` of frames, and the heat that they leave."""
        tower, config = self.tower, self.tower.config
        special = int(config.class_token)
        h = embedded
        if special:
            h = torch.cat([tower.class_token.expand(len(h), 1, -1), h], 1)
        h = tower.pre(h + tower.position)
        first = tower.layer(0)
        qkv = first.project(h)
        mixed, weights = first.attend_weighted(qkv)
        matrix, h, rows = fuse(weights), h + first.out(mixed), None
        if kept is not None:
            rows = torch.cat([kept.new_zeros(len(kept), special), kept + special], 1)
            h = h.gather(1, rows[..., None].expand(-1, -1, config.width))
        h = first.feed_forward(h)
        fused = []
        for index in range(1, config.layers):
            layer = tower.layer(index)
            mixed, weights = layer.attend_weighted(layer.project(h, rows))
            fused.append(fuse(weights))
            if config.by_class and index == config.layers - 1:
                h, mixed = h[:, 0], mixed[:, 0]
            h = layer.finish(h, mixed)
        heat = roll(self._start(h, matrix, fused), fused, matrix, rows)[:, special:]
        if kept is None:
            return tower.finish(h), heat / heat.sum(1, keepdim=True)
        return tower.finish(h), fill(heat, kept, mean_keys(qkv[:, special:], first.heads))

    def _start(self, h: Tensor, matrix: Tensor, fused: Sequence[Tensor]) -> Tensor:
        """Weights of the last layer's tokens in the embedding, `[T, K]`."""
        tokens = (fused[-1] if fused else matrix).shape[2]
        if self.tower.config.by_class:
            start = torch.zeros(len(h), tokens, device=h.device)
            start[:, 0] = 1
            return start
        pool = self.tower.pool
        assert isinstance(pool, AttentionPool)
        row = fuse(pool.weigh(self.tower.post(h)))[:, 0]
        return row / row.sum(1, keepdim=True)

    def macs(self, computed: Tensor, full: Tensor) -> Tensor:
        """Multiply-accumulates `[F]`; those of tracking and of the rollout among them."""
        config, width = self.tower.config, self.tower.config.width
        tokens = computed[:, -1].double()
        patches, own = config.side**2, tokens - int(config.class_token)
        asked = 0 if config.by_class else (tokens + 1) * width**2 + tokens * width
        extra = config.layers * tokens**2 + asked
        tracked = (2 * self.reach + 1) ** 2 * patches * width
        matched = patches * own * (width // config.heads)
        guided = pruned_macs(config, tokens) + matched
        on_grid = own == len(self._grid) if self._gridded() else torch.zeros_like(full)
        guided = guided + torch.where(on_grid, 0.0, float(tracked))
        return torch.where(full, float(dense_macs(config)), guided) + extra


def pruned_macs(config: VisionConfig, tokens: Tensor) -> Tensor:
    """Multiply-accumulates of frames that go on from layer 0's attention with so many tokens.

    Layer 0's out-projection is of all tokens: they are dropped after it.
    """
    n, d, last = config.tokens, config.width, config.layers - 1
    row = project_macs(config, 1) + 2 * tokens * d
    one = finish_macs(config, 1)
    # pooling reads the tokens that are left
    unread = 0 if config.by_class else (n - tokens) * (2 * d * d + 2 * d)
    return (
        embed_macs(config)
        + project_macs(config, n)
        + attend_macs(config, n)
        + out_macs(config, n)
        + tokens * mlp_macs(config, 1)
        + last * tokens * row
        + (last - int(config.by_class)) * tokens * one
        + (one if config.by_class else 0)
        + head_macs(config)
        - unread
    )


def mean_keys(qkv: Tensor, heads: int) -> Tensor:
    """Keys, mean over heads, `[T, P, dh]`, of queries, keys and values `[T, P, 3D]`."""
    width = qkv.shape[-1] // 3
    return qkv[..., width : 2 * width].unflatten(2, (heads, -1)).mean(2)
