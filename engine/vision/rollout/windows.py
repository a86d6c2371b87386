"""Rollout-guided pruning for detectors: old keys, values and outputs stand for what is dropped."""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.errors import UsageError
from engine.vision.backbone.windowed import WindowedConfig, WindowedTower
from engine.vision.rollout.heat import fuse
from kernels.track import track_reference

LEAST = 0.1  # the score from which a detection tells where to look


@dataclass(slots=True)
class Buffers:
    """What streams side by side left: of each token its newest values, whenever computed."""

    qkv: list[Tensor]  # of each layer `[T, N, 3D]`
    attention: dict[int, Tensor]  # of each layer that sees all: joined heads `[T, N, N]`
    out: Tensor  # `[T, N, D]`
    embedded: Tensor  # `[T, N, D]`, of the last frame, before positions are added
    heat: Tensor  # float32 `[T, N]`, sums to 1
    age: int = 1  # frames since they began


@dataclass(slots=True)
class WindowedRollout:
    """Frames of streams, one of each at a time, in plain PyTorch on any device.

    Every `every`-th frame is full and renews all. Of the others layer 0 attends for all tokens;
    then the best `keep` go on. They attend to all: what was dropped has the keys and values of the
    frame in which it was last kept, and its output of that frame is given again.
    """

    tower: WindowedTower
    keep: float = 0.29  # share of the patches
    every: int = 8
    reach: int = 1  # places that a patch may move from frame to frame
    pool: int = 1  # patches along an edge that are one in rollouts: published are 2 at 672 pixels
    _left: Buffers | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise UsageError(f"keep {self.keep:g}; allowed: above 0, at most 1")
        if self.every < 0 or self.reach < 0:
            wrong = ("every", self.every) if self.every < 0 else ("reach", self.reach)
            raise UsageError(f"{wrong[0]} must be 0 or more, got {wrong[1]}")
        if self.pool < 1 or self.tower.config.side % self.pool:
            raise UsageError(f"pool {self.pool}; allowed: divisors of {self.tower.config.side}")

    @property
    def kept(self) -> int:
        """How many patches of a guided frame go on."""
        return round(self.keep * self.tower.config.tokens)

    def begin(self) -> None:
        """Forget what was left: the next frame is a first one."""
        self._left = None

    @torch.inference_mode()
    def step(self, values: Tensor) -> Tensor:
        """Tokens `[T, N, D]` of normalised frames `[T, 3, S, S]`, for a detector to read.

        Then `look` says what the detector found; without it all tokens count alike.
        """
        left, embedded = self._left, self.tower.cut(values)
        if left is None or len(left.out) != len(values) or self._resets(left.age):
            self._left = self._full(embedded)
        else:
            order = self._scores(left, embedded).argsort(dim=1, descending=True, stable=True)
            self._guided(left, embedded, order[:, : self.kept])
            left.age += 1
        assert self._left is not None
        self.look(torch.ones_like(self._left.heat, dtype=torch.bool))
        return self._left.out.clone()

    def look(self, anchors: Tensor) -> None:
        """Roll out from anchors, bool `[T, N]`: what was detected; a row without any has all."""
        left = self._left
        if left is None:
            raise UsageError("there is no frame yet to look at")
        if self.pool > 1:
            anchors = self._cells(anchors.float()).amax((2, 4)).flatten(1) > 0
        none = ~anchors.any(1, keepdim=True)
        row = (anchors | none).float()
        row = row / row.sum(1, keepdim=True)
        for index in sorted(left.attention, reverse=True):
            matrix = self._pooled(left.attention[index])
            scaled = row / (matrix.sum(2) + 1)
            row = (scaled[:, None] @ matrix)[:, 0] + scaled
        if self.pool > 1:
            side = self.tower.config.side
            grid = row.view(len(row), 1, side // self.pool, side // self.pool)
            wide = F.interpolate(grid, (side, side), mode="bilinear", align_corners=False)
            row = wide.flatten(1)
        left.heat = row / row.sum(1, keepdim=True)

    def _cells(self, rows: Tensor) -> Tensor:
        """Tokens `[T, N]` by the cells that they are pooled in, `[T, s, pool, s, pool]`."""
        short = self.tower.config.side // self.pool
        return rows.view(len(rows), short, self.pool, short, self.pool)

    def _pooled(self, matrix: Tensor) -> Tensor:
        """Attention `[T, N, N]` between cells: the sum over keys of one, the mean over queries."""
        if self.pool == 1:
            return matrix
        tokens = matrix.shape[1]
        keys = self._cells(matrix.flatten(0, 1)).sum((2, 4)).flatten(1)
        queries = keys.view(len(matrix), tokens, -1).transpose(1, 2).flatten(0, 1)
        pooled = self._cells(queries).mean((2, 4)).flatten(1)
        return pooled.view(len(matrix), keys.shape[1], -1).transpose(1, 2)

    def _scores(self, left: Buffers, embedded: Tensor) -> Tensor:
        side = self.tower.config.side
        return track_reference(left.heat, left.embedded, embedded, side, self.reach)

    def _resets(self, age: int) -> bool:
        return self.every > 0 and age % self.every == 0

    def _full(self, embedded: Tensor) -> Buffers:
        tower, h = self.tower, self.tower.place(embedded)
        kept: list[Tensor] = []
        attention: dict[int, Tensor] = {}
        places = torch.arange(h.shape[1], device=h.device)
        for index in range(tower.config.layers):
            layer = tower.layer(index)
            kept.append(layer.project(h))
            if layer.window:
                h = layer.finish(h, layer.attend(kept[-1]))
                continue
            mixed, weights = layer.attend_from(kept[-1], places)
            attention[index] = fuse(weights)
            h = layer.finish(h, mixed)
        heat = h.new_zeros(h.shape[:2], dtype=torch.float32)
        return Buffers(kept, attention, h.clone(), embedded, heat)

    def _guided(self, left: Buffers, embedded: Tensor, kept: Tensor) -> None:
        """Compute the kept places `[T, K]` anew, and put them into the buffers."""
        tower, h = self.tower, self.tower.place(embedded)
        everywhere = torch.arange(h.shape[1], device=h.device).expand(len(h), -1)
        for index in range(tower.config.layers):
            layer, places = tower.layer(index), kept if index else everywhere
            _put(left.qkv[index], places, layer.project(h))
            if layer.window:
                mixed = _take(layer.attend(left.qkv[index]), places)
            else:
                mixed, weights = layer.attend_from(left.qkv[index], places)
                _put(left.attention[index], places, fuse(weights))
            h = h + layer.out(mixed)
            h = layer.feed_forward(h if index else _take(h, kept))
        _put(left.out, kept, h)
        left.embedded = embedded


def covered(boxes: Tensor, scores: Tensor, side: int, least: float = LEAST) -> Tensor:
    """Patches, bool `[T, side²]`, that lie in part in a box of more than the least score.

    Args:
        boxes: left, top, right and bottom in shares of the picture, `[T, K, 4]`.
        scores: `[T, K]`.
    """
    edges = torch.arange(side, device=boxes.device)
    low, high = edges / side, (edges + 1) / side
    x0, y0, x1, y1 = (each[..., None] for each in boxes.unbind(-1))
    wide = (x0 < high) & (x1 > low)  # [T, K, side]
    tall = (y0 < high) & (y1 > low)
    inside = tall[..., :, None] & wide[..., None, :] & (scores > least)[..., None, None]
    return inside.any(1).flatten(1)


def windowed_macs(config: WindowedConfig, kept: int | None) -> int:
    """Multiply-accumulates of one frame, full or of so many kept; relative positions left out."""
    n, d = config.tokens, config.width
    rows = n if kept is None else kept
    side = -(-config.side // config.window) * config.window if config.window else 0
    total = n * d * 3 * config.patch**2
    for index in range(config.layers):
        own = rows if index else n
        total += own * 3 * d**2 + own * d**2 + rows * 2 * d * config.mlp
        total += 2 * d * (side**2 * config.window**2 if index in config.windowed else own * n)
    return total


def look_macs(config: WindowedConfig, pool: int = 1, *, matrices: bool = False) -> int:
    """Multiply-accumulates of one look over cells of `pool`² patches.

    One vector goes through the layers that see all; `matrices`: their whole product is made first,
    as the published counts have it.
    """
    cells, layers = (config.side // pool) ** 2, config.layers - len(config.windowed)
    return layers * (cells**3 if matrices else cells**2)


def _take(rows: Tensor, places: Tensor) -> Tensor:
    return rows.gather(1, places[..., None].expand(-1, -1, rows.shape[2]))


def _put(rows: Tensor, places: Tensor, values: Tensor) -> None:
    rows.scatter_(1, places[..., None].expand(-1, -1, rows.shape[2]), values)
