"""DiffRate: prune the least important tokens, merge the next least into their most similar."""

from dataclasses import dataclass, field, replace

import torch

from engine.vision.backbone.tower import VisionConfig
from engine.vision.merging.rates import Rates
from engine.vision.merging.reduction import Attended, Merge


@dataclass(frozen=True, slots=True)
class DiffRate:
    """Prune and merge to given counts; a token's importance is the class token's attention to it.

    A merged token is the plain mean of those that it stands for; its size grows by each one's size
    times their cosine, as published.
    """

    rates: Rates
    proportional: bool = True
    weighs: bool = field(default=True, init=False)

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

    def choose(self, index: int, tokens: Attended) -> Merge:
        """Sort by importance, cut off the end, and merge what follows the kept ones."""
        count = tokens.h.shape[1]
        pruned, kept = self._pruned(index, count), self.kept(index, count)
        order = tokens.means.rank(tokens.importance(), first=True)
        stay, go = order[:, :kept], order[:, kept:pruned]
        if kept == pruned:
            return Merge(stay, go, torch.empty_like(go))
        cosine, home = tokens.means.match(tokens.h, go, stay, skip_first=True)
        return Merge(stay, go, home, share=cosine)

    def with_scale(self, scale: float) -> "DiffRate":
        """Drop more or fewer tokens in every layer."""
        return replace(self, rates=self.rates.scaled(scale))

    def _pruned(self, index: int, tokens: int) -> int:
        return min(tokens, self.rates.pruned[index])
