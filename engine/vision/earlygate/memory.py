"""What the early gate's graph reads and writes, allocated once."""

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.fused.layers import MOST_STREAMS, Workspace, patch_columns, quartered
from kernels.narrow import PackedRows, Tokens
from kernels.pool_keys import KeyPool

SLOTS = 4


@dataclass(frozen=True, slots=True)
class GateMemory:
    """Buffers of B streams in 4 slots: F = 4 B frames, P = F N packed rows.

    Table rows below T are the streams': for each position one root per gated layer and one spare.
    The others belong to packed rows.
    """

    streams: int
    tokens: int
    pixels: Tensor  # uint8 [F, 3, S, S], frames that are there, one after the other
    control: Tensor  # int32 [2 + 3 F]: patches, tokens, then place, whole and order by frame
    h: Tensor  # [P, D]
    work: Workspace
    mixed: Tensor  # [P, D]
    keys: Tensor | None  # [P, C], where they are not h itself
    roots: Tensor  # [T, C]
    table: Tensor  # [T + P, 3D]
    root: Tensor  # int32 [L - 1, B, N]
    spare: Tensor  # int32 [B, N]
    row_of: Tensor  # int32 [4, B, N]
    follows: Tensor  # int32 [4, B, N]
    page: Tensor  # int32 [4, B, N]
    origin: Tensor  # int32 [P]
    target: Tensor  # int32 [P]
    queries: Tensor  # int32 [F, N]
    pool: KeyPool
    num_queries: Tensor  # int32 [L - 1, F]
    count: Tensor  # int32 [1 + L], of patches, then of the rows of each layer
    thresholds: Tensor  # float32 [L - 1, 4, B, 1], or for each token
    limits: Tensor  # the same, with those of whole frames negative
    embeddings: Tensor  # [F, E]

    @classmethod
    def allocate(
        cls, tower: VisionTower, streams: int, key_width: int, *, forced: bool
    ) -> "GateMemory":
        """Allocate for that many streams; `forced` makes room for a threshold per token."""
        config = tower.config
        frames, tokens, gates = SLOTS * streams, config.tokens, config.layers - 1
        packed, cached = frames * tokens, (gates + 1) * streams * tokens

        def values(*shape: int) -> Tensor:
            return tower.position.new_zeros(shape)

        def ints(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.int32, device=tower.device)

        ids = torch.arange(cached, dtype=torch.int32, device=tower.device)
        ids = ids.view(gates + 1, streams, tokens)
        limits = torch.zeros(gates, SLOTS, streams, tokens if forced else 1, device=tower.device)
        bytes_shape = (frames, 3, config.image_size, config.image_size)
        return cls(
            streams=streams,
            tokens=tokens,
            pixels=torch.zeros(bytes_shape, dtype=torch.uint8, device=tower.device),
            control=ints(2 + 3 * frames),
            h=values(packed, config.width),
            work=Workspace.allocate(tower.layer(0), packed),
            mixed=values(packed, config.width),
            keys=values(packed, key_width) if key_width != config.width else None,
            roots=values(cached, key_width),
            table=values(cached + packed, 3 * config.width),
            root=ids[:gates].clone(),
            spare=ids[gates].clone(),
            row_of=ints(SLOTS, streams, tokens),
            follows=ints(SLOTS, streams, tokens),
            page=ints(SLOTS, streams, tokens),
            origin=ints(packed),
            target=ints(packed),
            queries=ints(frames, tokens),
            pool=KeyPool(
                ints(streams, SLOTS * tokens), ints(streams, SLOTS * tokens), ints(streams)
            ),
            num_queries=ints(gates, frames),
            count=ints(1 + config.layers),
            thresholds=limits,
            limits=limits.clone(),
            embeddings=values(frames, config.dimension),
        )

    @property
    def frames(self) -> int:
        """Most frames of one step, F."""
        return SLOTS * self.streams

    @property
    def fresh(self) -> Tensor:
        """The table's rows of the packed rows: `[P, 3D]`."""
        return self.table[len(self.roots) :]

    @property
    def placing(self) -> tuple[Tensor, Tensor, Tensor]:
        """Place and whole `[4, B]`, and order `[F]`, of the control words."""
        place, whole, order = self.control[2:].view(3, self.frames)
        grid = (SLOTS, self.streams)
        return place.view(grid), whole.view(grid), order

    def starts(self) -> Tensor:
        """First packed row of each frame before the gates, -1 where there is none: int64 `[F]`."""
        at = torch.arange(self.frames, device=self.count.device) * self.tokens
        return at.where(at < self.count[1], -1)

    def tokens_of(self, gate: int) -> Tokens:
        """Return where the tokens stand, with the roots of that gate."""
        return Tokens(self.row_of, self.follows, self.page, self.root[gate], self.spare)

    def packed_of(self, gate: int) -> PackedRows:
        """Return the packed rows, with the counts of that gate."""
        return PackedRows(
            self.work.normed,
            self.work.units,
            self.origin,
            self.target,
            self.queries,
            self.num_queries[gate],
            self.count[2 + gate : 3 + gate],
        )

    def state_bytes(self) -> int:
        """Bytes kept of one stream between steps: its roots, keys, values and spare rows."""
        row = self.roots[0].nbytes + self.table[0].nbytes
        return len(self.roots) * row // self.streams


def fitting_streams(config: VisionConfig, key_width: int, free_bytes: int) -> int:
    """Streams of a half-precision tower to make room for: 64, or a quarter until they fit."""
    kept = config.layers * (key_width + 3 * config.width)
    group = SLOTS * (8 * config.width + key_width + config.mlp + patch_columns(config))
    return quartered(MOST_STREAMS, 2 * config.tokens * (kept + group), free_bytes)
