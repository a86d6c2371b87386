"""ToMe: in every layer the r most similar pairs of tokens become one; nothing is learned."""

from dataclasses import dataclass, field, replace

import torch

from engine.errors import UsageError
from engine.vision.backbone.tower import VisionConfig
from engine.vision.merging.reduction import Attended, Merge

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
    weighs: bool = field(default=False, init=False)

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

    def choose(self, index: int, tokens: Attended) -> Merge:
        """Merge the most similar pairs; those left of the even places come first."""
        frames, count = tokens.h.shape[:2]
        merged = count - self.kept(index, count)
        places = torch.arange(count, dtype=torch.int32, device=tokens.h.device)
        even, odd = (places[at::2].expand(frames, -1) for at in (0, 1))
        best, home = tokens.means.match(tokens.keys(), even.contiguous(), odd.contiguous())
        best[:, 0] = -torch.inf
        order = tokens.means.rank(best[:, None])
        moved, left = order[:, :merged], order[:, merged:].sort(1).values
        to = left.shape[1] + home.gather(1, moved.long())
        return Merge(torch.cat([2 * left, odd], 1), 2 * moved, to, weighted=True)

    def with_scale(self, scale: float) -> "ToMe":
        """Merge more or fewer pairs in every layer."""
        return replace(self, r=self.r * scale)
