"""The gate between two layers: decides, corrects, mixes the reused with the computed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.vision.reusevit.decision import Decision
from engine.vision.reusevit.restoration import Restoration
from engine.vision.reusevit.similarity import nearest

TAU = 0.025
Chain = Literal["published", "compound", "root"]
CHAINS: tuple[Chain, ...] = ("published", "compound", "root")
Decide = Callable[[Tensor], Tensor]  # logits [B, N, 2] to the share [B, N] that is reused


@dataclass(frozen=True, slots=True)
class Gated:
    """One frame behind a gate, and what it offers to frames that refer to it."""

    share: Tensor  # [B, N], 1 where the token is reused
    mixed: Tensor  # [B, N, D], the root's pre-projection where reused
    states: Tensor  # [B, N, 4D], h, q, k, v of the next layer, corrected where reused
    roots: Tensor  # [B, N, 4D], the same without corrections

    def offered(self, chain: Chain, *, within: bool) -> Tensor:
        """States `[B, N, 4D]` that a frame of the same group or of the next one builds on.

        `published` starts from the computed row within a group and from the corrected one across
        groups; `compound` always from the corrected, `root` always from the computed row.
        """
        corrected = chain == "compound" or (chain == "published" and not within)
        return self.states if corrected else self.roots


class Gate(nn.Module):
    """Gate l, between the attention of layer l and that of layer l + 1."""

    def __init__(self, width: int, *, pattern: str, hidden: int, narrow: int, fixed: int) -> None:
        super().__init__()
        self.decision = Decision(pattern, hidden)
        self.restoration = Restoration(width, narrow)
        self.fixed = fixed

    def forward(
        self,
        mixed: Tensor,
        states: Tensor,
        features: tuple[Tensor, Tensor, Tensor],
        references: list[tuple[Tensor, Tensor]],
        decide: Decide,
    ) -> Gated:
        """Run both branches for one frame.

        Args:
            mixed: its own pre-projection `[B, N, D]`.
            states: its own next h, q, k, v `[B, N, 4D]`.
            features: importance `[B, N]`, cue `[B, N]` and the one-hot kind `[3]`.
            references: mixed and states that each offers, the past one first.
            decide: turns logits into shares.
        """
        importance, cue, kind = features
        similarity, which = nearest(mixed, [each for each, _ in references])
        their_mixed = choose([each for each, _ in references], which)
        their_states = choose([each for _, each in references], which)
        share = decide(self.decision(importance, similarity, cue, kind))
        share = F.pad(share[:, self.fixed :], (self.fixed, 0))
        weight = share[..., None]
        roots = torch.lerp(states, their_states, weight)
        corrected = roots
        if self.restoration.up.numel():
            their_states = their_states + self.restoration(mixed - their_mixed)
            corrected = torch.lerp(states, their_states, weight)
        return Gated(share, torch.lerp(mixed, their_mixed, weight), corrected, roots)


def choose(candidates: list[Tensor], which: Tensor) -> Tensor:
    """Token by token the candidate `[B, N, ...]` numbered `which` `[B, N]`."""
    chosen = candidates[0]
    for at, other in enumerate(candidates[1:], 1):
        chosen = torch.where((which == at)[..., None], other, chosen)
    return chosen


def soft(noise: float | Tensor = 1.0) -> Decide:
    """Sampled shares, nearly 0 or 1, with a gradient.

    Noise 1 is the Gumbel softmax, where a logit is a chance; 0 decides as served.
    """

    def sample(logits: Tensor) -> Tensor:
        margin = logits[..., 0].float() - logits[..., 1].float()
        even = torch.rand_like(margin).clamp(1e-6, 1 - 1e-6)  # difference of two Gumbel draws
        return ((margin + noise * even.logit()) / TAU).sigmoid()

    return sample


def straight(noise: float | Tensor = 0.0) -> Decide:
    """Sampled shares of 0 or 1, with the gradient of a sigmoid a whole logit wide.

    Every token near the threshold learns from each step, not the few that `soft` draws onto it.
    """

    def sample(logits: Tensor) -> Tensor:
        margin = logits[..., 0].float() - logits[..., 1].float()
        even = torch.rand_like(margin).clamp(1e-6, 1 - 1e-6)
        chance = (margin + noise * even.logit()).sigmoid()
        return (chance > 0.5).float() + chance - chance.detach()

    return sample


def hard(logits: Tensor) -> Tensor:
    """Shares as served: 1 where the logit of reuse is the larger."""
    return (logits[..., 0] > logits[..., 1]).float()
