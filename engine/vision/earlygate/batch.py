"""The tokens of many streams' frames, packed slot by slot, and where each one's root lies."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class StepFrames:
    """The frames of one step, slot after slot and stream after stream within a slot."""

    slots: Tensor  # int64 [F]
    streams: Tensor  # int64 [F]
    num_slots: int
    num_streams: int
    tokens: int

    def __len__(self) -> int:
        return len(self.slots)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slots, streams and tokens: `[S, B, N]`, the grid in which tokens have their home."""
        return self.num_slots, self.num_streams, self.tokens

    @property
    def index(self) -> Tensor:
        """Each frame's place among all slots and streams, `slot * B + stream`."""
        return self.slots * self.num_streams + self.streams

    def homes(self) -> Tensor:
        """Each token's place in `[S, B, N]`, in packed order: int64 `[F * N]`."""
        at = torch.arange(self.tokens, device=self.slots.device)
        return (self.index[:, None] * self.tokens + at).flatten()


@dataclass(slots=True)
class PackedTokens:
    """The tokens still computed: which they are, and the way from a token to its row."""

    frames: StepFrames
    homes: Tensor  # int64 [R], ascending
    row_of: Tensor  # int32 [S, B, N]; negative: not computed
    follows: Tensor  # int8 [S, B, N]; negative: no such frame here

    @classmethod
    def everything(cls, frames: StepFrames) -> "PackedTokens":
        """Every token computed, each following itself."""
        homes = frames.homes()
        follows = torch.full(frames.shape, -1, dtype=torch.int8, device=homes.device)
        follows[frames.slots, frames.streams] = (frames.slots + 1).to(torch.int8)[:, None]
        return cls(frames, homes, _rows(frames, homes), follows)

    def narrow(self, follows: Tensor, source: Tensor) -> Tensor:
        """Keep the tokens whose source is themselves; return which rows those are: int64."""
        tokens = self.frames.num_streams * self.frames.tokens
        own = torch.div(self.homes, tokens, rounding_mode="floor") + 1
        kept = (source.flatten()[self.homes] == own).nonzero().squeeze(1)
        self.homes = self.homes[kept]
        self.row_of = _rows(self.frames, self.homes)
        self.follows = torch.where(self.follows >= 0, follows, -1)
        return kept

    def counts(self) -> Tensor:
        """Computed tokens of each frame, int64 `[F]`."""
        slots, streams, tokens = self.frames.shape
        per = torch.bincount(
            torch.div(self.homes, tokens, rounding_mode="floor"), minlength=slots * streams
        )
        return per[self.frames.index]

    def page(self, source: Tensor, row_of: Tensor) -> Tensor:
        """Row of each token's root among the cached ones and then the group's, int64 `[F, N]`."""
        slots, streams, tokens = self.frames.shape
        cached = torch.arange(streams * tokens, device=source.device).view(1, streams, tokens)
        inside = row_of.gather(0, (source.long() - 1).clamp(min=0)) + streams * tokens
        page = torch.where(source > 0, inside, cached)
        return page.view(slots * streams, tokens)[self.frames.index]


def _rows(frames: StepFrames, homes: Tensor) -> Tensor:
    row_of = torch.full(frames.shape, -1, dtype=torch.int32, device=homes.device)
    row_of.view(-1)[homes] = torch.arange(len(homes), dtype=torch.int32, device=homes.device)
    return row_of
