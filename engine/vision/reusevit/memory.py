"""What ReuseViT's graphs read and write, allocated once; and where each frame's rows lie."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.fused.layers import MOST_STREAMS, Workspace, quartered
from engine.vision.fused.upload import upload
from kernels.decide_groups import PackedGroups, Starts

SLOTS = 4


def fitting_streams(config: VisionConfig, free_bytes: int) -> int:
    """Streams of a half-precision tower to run side by side: 64, or a quarter until they fit."""
    width, layers = config.width, config.layers
    kept = (4 * (layers + SLOTS - 1) + layers - 1) * width
    group = SLOTS * (7 * width + config.mlp + 1024)
    return quartered(MOST_STREAMS, 2 * config.tokens * (kept + group), free_bytes)


@dataclass(frozen=True, slots=True)
class ReuseMemory:
    """Buffers of B streams in 4 slots.

    `states` has room for one frame of each stream per layer, and for the three frames of a group
    that are not kept. A group's first slot writes where the reference of the gate before it was, so
    that its output is the next reference and nothing is copied: with every group of a stream, what
    belongs to gate l moves from place `(l - turn) mod L` to the one before.
    """

    streams: int
    tokens: int
    gates: int
    pixels: Tensor  # uint8 [4 B, 3, S, S], of the frames that are there, by slot and stream
    sizes: Tensor  # int32 [B], frames in this group
    full: Tensor  # bool [B]
    cue: Tensor  # float32 [4 B, N - 1]
    forced: Tensor | None  # bool [L - 1, 4 B, N - 1]
    turn: Tensor  # int64 [B]
    states: Tensor  # [(L + 3) B N, 4D]
    cached: Tensor  # [L - 1, B, N, D]
    mixed: Tensor  # [4 B N, D]
    weights: Tensor  # float32 [4 B, H, N]
    work: Workspace
    narrow: Tensor  # [4 B N, 4C]
    packed: PackedGroups
    counts: Tensor  # int32 [L - 1, 2]
    reused: Tensor  # int8 [L - 1, 4 B N]
    first: Tensor  # [4 B, D]
    embeddings: Tensor  # [4 B, E]

    @classmethod
    def allocate(
        cls, tower: VisionTower, streams: int, narrow: int, *, forced: bool
    ) -> "ReuseMemory":
        """Allocate for that many streams; `forced` makes room for decisions made elsewhere."""
        config, device = tower.config, tower.device
        frames, tokens, gates = SLOTS * streams, config.tokens, config.layers - 1
        rows, width = frames * tokens, config.width

        def values(*shape: int) -> Tensor:
            return tower.position.new_zeros(shape)

        def zeros(*shape: int, dtype: torch.dtype) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        size = config.image_size
        return cls(
            streams=streams,
            tokens=tokens,
            gates=gates,
            pixels=zeros(frames, 3, size, size, dtype=torch.uint8),
            sizes=zeros(streams, dtype=torch.int32),
            full=zeros(streams, dtype=torch.bool),
            cue=zeros(frames, tokens - 1, dtype=torch.float32),
            forced=zeros(gates, frames, tokens - 1, dtype=torch.bool) if forced else None,
            turn=zeros(streams, dtype=torch.int64),
            states=values((config.layers + SLOTS - 1) * streams * tokens, 4 * width),
            cached=values(gates, streams, tokens, width),
            mixed=values(rows, width),
            weights=zeros(frames, config.heads, tokens, dtype=torch.float32),
            work=Workspace.allocate(tower.layer(0), rows),
            narrow=values(rows, 4 * narrow),
            packed=PackedGroups.empty(
                SLOTS, streams, tokens, values(1, width), differences=narrow > 0
            ),
            counts=zeros(gates, 2, dtype=torch.int32),
            reused=zeros(gates, rows, dtype=torch.int8),
            first=values(frames, width),
            embeddings=values(frames, config.dimension),
        )

    def starts(self, slots: int, streams: int) -> list[Starts]:
        """Where each gate finds and leaves the first `streams` streams' frames; -1: not there."""
        layers, each = self.gates + 1, self.streams * self.tokens
        gate = torch.arange(self.gates, device=self.turn.device)[:, None]
        stream = torch.arange(streams, device=self.turn.device)
        turn = self.turn[:streams]
        cache = (gate - turn) % layers * each + stream * self.tokens  # [L - 1, b]
        far = (gate - 1 - turn) % layers * each + stream * self.tokens
        slot = torch.arange(slots - 1, device=self.turn.device)[:, None]
        near = (layers + slot) * each + stream * self.tokens  # [S - 1, b]
        near = near.expand(self.gates, slots - 1, streams)
        after = torch.cat([far[:, None], near], 1)  # [L - 1, S, b]
        after = after.where(self._there(slots, streams), -1)
        return [
            Starts(after[max(index - 1, 0)], after[index], cache[index])
            for index in range(self.gates)
        ]

    def packed_frames(self, slots: int, streams: int) -> tuple[Tensor, Tensor]:
        """Frames that are there, `[S b]`, zeros behind them; int32 `[2]`: patches and tokens."""
        there = self._there(slots, streams).flatten()
        rank = there.cumsum(0)
        at = torch.arange(len(there), device=there.device)
        order = torch.zeros_like(at).scatter_add_(0, (rank - 1).clamp(min=0), at * there)
        return order, (
            rank[-1] * torch.arange(self.tokens - 1, self.tokens + 1, device=at.device)
        ).int()

    def _there(self, slots: int, streams: int) -> Tensor:
        """Which slots of each stream hold a frame: bool `[S, b]`."""
        slot = torch.arange(slots, device=self.sizes.device)
        return slot[:, None] < self.sizes[:streams]

    def gate(self, index: int, slots: int, streams: int) -> PackedGroups:
        """Return the packed rows with that gate's counts and map."""
        shape = (slots, streams, self.tokens)
        reused = self.reused[index, : slots * streams * self.tokens].view(shape)
        return self.packed._replace(counts=self.counts[index], reused=reused)

    def advance(self, streams: int) -> None:
        """After a group, its first slot is the reference."""
        self.turn[:streams].add_((self.sizes[:streams] > 0).long()).remainder_(self.gates + 1)

    @property
    def mixed_rows(self) -> Tensor:
        """The cached pre-projections row by row: `[(L - 1) B N, D]`."""
        return self.cached.flatten(0, 2)

    def rows_of(self, places: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """Rows of streams' references, `[(L - 1) N]` of `mixed_rows` and of `states` for each."""
        if not places:
            return []
        device = self.turn.device
        place = upload(torch.tensor(places), device)[:, None, None]
        gate = torch.arange(self.gates, device=device)[:, None]
        token = torch.arange(self.tokens, device=device)
        turned = (gate - self.turn[place]) % (self.gates + 1)
        rows = [((at * self.streams + place) * self.tokens + token) for at in (gate, turned)]
        return list(zip(*(each.flatten(1).unbind(0) for each in rows), strict=True))

    @property
    def state_bytes(self) -> int:
        """Bytes kept of one stream between groups."""
        layers = self.gates + 1
        kept = layers * self.tokens * self.states[0].nbytes
        return kept + self.cached.nbytes // self.streams
