"""What a layer hands to a rule that leaves fewer tokens, and what such a rule says of itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from torch import Tensor

from engine.vision.backbone.importance import class_importance
from engine.vision.backbone.tower import VisionConfig
from kernels.match import match_tokens, match_tokens_reference
from kernels.merge import merge_tokens, merge_tokens_reference
from kernels.rank import rank_tokens, rank_tokens_reference

Self = TypeVar("Self", bound="Reduction")


class Means(NamedTuple):
    """By what a rule chooses: kernels, or their definitions."""

    rank: Callable[..., Tensor]
    match: Callable[..., tuple[Tensor, Tensor]]


PLAIN = Means(rank_tokens_reference, match_tokens_reference)
FUSED = Means(rank_tokens, match_tokens)


@dataclass(frozen=True, slots=True)
class Attended:
    """Tokens between a layer's attention and its MLP; the class token comes first."""

    h: Tensor  # [B, n, D], the attention's output added
    qkv: Tensor  # [B, n, 3D]
    heads: int
    means: Means = PLAIN
    bias: Tensor | None = None  # [B, n], added to the scores of each key
    weights: Tensor | None = None  # float32 [B, H, n], the class token's attention, where known

    def importance(self) -> Tensor:
        """The class token's attention to each token, head by head or summed: `[B, *, n]`."""
        if self.weights is not None:
            return self.weights
        width = self.h.shape[-1]
        keys = self.qkv[..., width : 2 * width]
        queries = self.qkv[:, 0, :width]
        return class_importance(queries, keys, self.heads, self.bias)[:, None]

    def keys(self) -> Tensor:
        """Keys, mean over heads: `[B, n, dh]`."""
        batch, tokens, width = self.h.shape
        keys = self.qkv[..., width : 2 * width]
        return keys.reshape(batch, tokens, self.heads, -1).mean(2)


@dataclass(frozen=True, slots=True)
class Merge:
    """What a layer leaves: see `merge_tokens`."""

    kept: Tensor  # int32 [B, m], the class token first
    moved: Tensor  # int32 [B, s]
    home: Tensor  # int32 [B, s]
    share: Tensor | None = None  # float32 [B, s]
    weighted: bool = False

    def plainly(self, h: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """Return h `[B, m, D]` and sizes `[B, m]`, in plain PyTorch."""
        out = h.new_empty(len(h), self.kept.shape[1], h.shape[2])
        return merge_tokens_reference(
            h, sizes, self.kept, self.moved, self.home, self.share, self.weighted, out
        )

    def into(self, out: Tensor, h: Tensor, sizes: Tensor) -> Tensor:
        """Write h `[B, m, D]` and return sizes `[B, m]`, by the kernel."""
        _, grown = merge_tokens(
            h, sizes, self.kept, self.moved, self.home,
            share=self.share, weighted=self.weighted, out=out,
        )  # fmt: skip
        return grown


class Reduction(Protocol):
    """A rule that leaves fewer tokens, how many being known beforehand."""

    @property
    def proportional(self) -> bool:
        """Whether a key counts for all tokens that it stands for: log(size) is added to scores."""

    @property
    def weighs(self) -> bool:
        """Whether it chooses by the class token's attention."""

    def check(self, config: VisionConfig) -> None:
        """Refuse a tower that the rule was not made for."""

    def kept(self, index: int, tokens: int) -> int:
        """Tokens that layer `index` leaves of so many."""

    def rule_macs(self, config: VisionConfig, index: int, tokens: int) -> int:
        """Multiply-accumulates of choosing among so many tokens, none where all are kept."""

    def choose(self, index: int, tokens: Attended) -> Merge:
        """Say which tokens stay, and which go to which of them."""

    def with_scale(self: Self, scale: float) -> Self:
        """Drop that many times as many tokens: below 1 fewer, at 0 none."""
