"""What a layer hands to a rule that leaves fewer tokens, and what such a rule says of itself."""

from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor

from engine.vision.backbone.importance import class_importance
from engine.vision.backbone.tower import VisionConfig

Self = TypeVar("Self", bound="Reduction")


@dataclass(frozen=True, slots=True)
class Attended:
    """Tokens between a layer's attention and its MLP; the class token comes first."""

    h: Tensor  # [B, n, D], the attention's output added
    qkv: Tensor  # [B, n, 3D]
    sizes: Tensor  # float32 [B, n], tokens that each stands for
    bias: Tensor | None  # [B, n], added to the scores of each key
    heads: int

    def importance(self) -> Tensor:
        """The class token's attention to each token, mean over heads: `[B, n]`."""
        width = self.h.shape[-1]
        keys = self.qkv[..., width : 2 * width]
        queries = self.qkv[:, 0, :width]
        return class_importance(queries, keys, self.heads, self.bias) / self.heads

    def keys(self) -> Tensor:
        """Keys, mean over heads: `[B, n, dh]`."""
        batch, tokens, width = self.h.shape
        keys = self.qkv[..., width : 2 * width]
        return keys.reshape(batch, tokens, self.heads, -1).mean(2)


class Reduction(Protocol):
    """A rule that leaves fewer tokens, how many being known beforehand."""

    @property
    def proportional(self) -> bool:
        """Whether a key counts for all tokens that it stands for: log(size) is added to scores."""

    def check(self, config: VisionConfig) -> None:
        """Refuse a tower that the rule was not made for."""

    def kept(self, index: int, tokens: int) -> int:
        """Tokens that layer `index` leaves of so many."""

    def rule_macs(self, config: VisionConfig, index: int, tokens: int) -> int:
        """Multiply-accumulates of choosing among so many tokens, none where all are kept."""

    def reduce(self, index: int, tokens: Attended) -> tuple[Tensor, Tensor]:
        """Leave fewer tokens: h `[B, n', D]` and sizes `[B, n']`, the class token first."""

    def with_scale(self: Self, scale: float) -> Self:
        """Drop that many times as many tokens: below 1 fewer, at 0 none."""
