"""DiffRate: prune the least important tokens, merge the next least into their most similar."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.vision.backbone.tower import VisionConfig
from engine.vision.merging.rates import Rates
from engine.vision.merging.reduction import Attended


@dataclass(frozen=True, slots=True)
class DiffRate:
    """Prune and merge to given counts; a token's importance is the class token's attention to it.

    A merged token is the plain mean of those that it stands for; its size grows by each one's size
    times their cosine, as published.
    """

    rates: Rates
    proportional: bool = True

    def check(self, config: VisionConfig) -> None:
        """Refuse rates of another tower."""
        self.rates.check(config)

    def kept(self, index: int, tokens: int) -> int:
        """Tokens left after both."""
        return min(self._pruned(index, tokens), self.rates.merged[index])

    def rule_macs(self, config: VisionConfig, index: int, tokens: int) -> int:
        """The class token's attention anew, then each token that is merged against each kept."""
        kept = self.kept(index, tokens)
        if kept == tokens:
            return 0
        return (tokens + (self._pruned(index, tokens) - kept) * kept) * config.width

    def reduce(self, index: int, tokens: Attended) -> tuple[Tensor, Tensor]:
        """Sort by importance, cut off the end, and merge what follows the kept ones."""
        count = tokens.h.shape[1]
        pruned, kept = self._pruned(index, count), self.kept(index, count)
        order = tokens.importance()[:, 1:].argsort(dim=1, descending=True, stable=True) + 1
        order = torch.cat([torch.zeros_like(order[:, :1]), order], 1)[:, :pruned]
        h = tokens.h.gather(1, order[..., None].expand(-1, -1, tokens.h.shape[-1]))
        sizes = tokens.sizes.gather(1, order)
        return (h, sizes) if kept == pruned else _merge(h, sizes, kept)

    def with_scale(self, scale: float) -> "DiffRate":
        """Drop more or fewer tokens in every layer."""
        return replace(self, rates=self.rates.scaled(scale))

    def _pruned(self, index: int, tokens: int) -> int:
        return min(tokens, self.rates.pruned[index])


def _merge(h: Tensor, sizes: Tensor, kept: int) -> tuple[Tensor, Tensor]:
    """Merge all rows after the first `kept` into these, but not into the class token."""
    unit = F.normalize(h.float(), dim=-1)
    similar = unit[:, kept:] @ unit[:, :kept].transpose(1, 2)
    similar[..., 0] = -torch.inf
    cosine, home = similar.max(-1)
    rows = home[..., None].expand(-1, -1, h.shape[-1])
    merged = h[:, :kept].scatter_reduce(1, rows, h[:, kept:], "mean", include_self=True)
    return merged, sizes[:, :kept].scatter_add(1, home, cosine * sizes[:, kept:])
