"""ToMe: in every layer the r most similar pairs of tokens become one; nothing is learned."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.errors import UsageError
from engine.vision.backbone.tower import VisionConfig
from engine.vision.merging.reduction import Attended

SHARE = 0.75  # of the tokens that all layers together merge away, unless r is given


@dataclass(frozen=True, slots=True)
class ToMe:
    """Tokens at even places are each paired with the most similar one at an odd place, by keys.

    The r best pairs are merged, means weighted by size; the class token stays as it is. With
    `falling` the first layer merges 2r, the last none.
    """

    r: float
    layers: int
    falling: bool = False
    proportional: bool = True

    def __post_init__(self) -> None:
        if self.r < 0:
            raise UsageError(f"r is a number of pairs, 0 or more, got {self.r:g}")

    @classmethod
    def usual(cls, config: VisionConfig, *, falling: bool = False) -> "ToMe":
        """As many in each layer as merge three quarters of the tokens of the tower."""
        return cls(round(SHARE * config.tokens / config.layers), config.layers, falling)

    def check(self, config: VisionConfig) -> None:
        """Any tower will do."""

    def kept(self, index: int, tokens: int) -> int:
        """Tokens left: at most half of the patches are merged."""
        last = max(self.layers - 1, 1)
        wanted = 2 * self.r * (1 - index / last) if self.falling else self.r
        return tokens - min(int(wanted), (tokens - 1) // 2)

    def rule_macs(self, config: VisionConfig, index: int, tokens: int) -> int:
        """Keys at even places against those at odd ones, one head wide."""
        if self.kept(index, tokens) == tokens:
            return 0
        return (tokens - tokens // 2) * (tokens // 2) * config.width // config.heads

    def reduce(self, index: int, tokens: Attended) -> tuple[Tensor, Tensor]:
        """Merge the most similar pairs; those left of the even places come first."""
        count = tokens.h.shape[1]
        merged = count - self.kept(index, count)
        keys = F.normalize(tokens.keys().float(), dim=-1)
        similar = keys[:, ::2] @ keys[:, 1::2].transpose(1, 2)
        similar[:, 0] = -torch.inf
        best, home = similar.max(-1)
        order = best.argsort(dim=1, descending=True, stable=True)
        moved, left = order[:, :merged], order[:, merged:].sort(1).values
        sizes = torch.cat(_joined(tokens.sizes[..., None], moved, left, home), 1)
        weighted = tokens.h * tokens.sizes[..., None].to(tokens.h.dtype)
        h = torch.cat(_joined(weighted, moved, left, home), 1) / sizes.to(tokens.h.dtype)
        return h, sizes[..., 0]

    def with_scale(self, scale: float) -> "ToMe":
        """Merge more or fewer pairs in every layer."""
        return replace(self, r=self.r * scale)


def _joined(values: Tensor, moved: Tensor, left: Tensor, home: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of the even places that stay, and those of odd places with what moved to them added."""
    even, odd = values[:, ::2], values[:, 1::2]
    width = values.shape[-1]
    rows = even.gather(1, moved[..., None].expand(-1, -1, width))
    to = home.gather(1, moved)[..., None].expand(-1, -1, width)
    stay = even.gather(1, left[..., None].expand(-1, -1, width))
    return stay, odd.scatter_add(1, to, rows)
