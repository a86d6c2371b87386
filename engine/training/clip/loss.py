"""What the built-in model learns from: captions, moments, choices, when they hold, patches."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

SHARPNESS = 30.0  # how far the frames that matter outweigh the rest, as when answering


@dataclass(frozen=True, slots=True)
class ClipLosses:
    """The parts of the loss, and how often a choice of four was right."""

    caption: Tensor
    moment: Tensor
    choice: Tensor
    time: Tensor
    patch: Tensor
    accuracy: Tensor

    @property
    def total(self) -> Tensor:
        """The sum that is minimised."""
        return self.caption + 0.5 * self.moment + self.choice + 0.2 * self.time + 0.5 * self.patch


def contrast(rows: Tensor, columns: Tensor, scale: Tensor) -> Tensor:
    """Symmetric cross-entropy of unit vectors `[B, E]`: each belongs to its own row alone."""
    logits = scale * rows @ columns.T
    target = torch.arange(len(rows), device=rows.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def choice_scores(relevance: Tensor, sharpness: float = SHARPNESS) -> Tensor:
    """Score choices `[B, C]` by the frames that matter to them, from cosines `[B, C, F]`.

    A frame matters by the choices' mean and best cosine with it, the same for all choices.
    """
    matter = sharpness * (relevance.mean(1) + relevance.amax(1)) / 2
    return (relevance * matter.softmax(-1)[:, None]).sum(-1)


def choice_loss(relevance: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy and accuracy where choice 0 is right, from cosines `[B, C, F]`."""
    scores = choice_scores(relevance)
    target = torch.zeros(len(scores), dtype=torch.long, device=scores.device)
    right = (scores.argmax(1) == 0).float().mean()
    return F.cross_entropy(scale * scores, target), right


def time_loss(relevance: Tensor, inside: Tensor, scale: Tensor) -> Tensor:
    """Let a true text's cosines `[B, F]` be highest in the frames that lie inside its spans."""
    mixed = inside.any(1) & ~inside.all(1)
    target = inside.float() / inside.float().sum(1, keepdim=True).clamp_min(1)
    each = -(target * (scale * relevance).log_softmax(-1)).sum(-1)
    return (each * mixed).sum() / mixed.sum().clamp_min(1)


def patch_loss(logits: Tensor, labels: Tensor, kinds: Sequence[int]) -> Tensor:
    """Mean cross-entropy of what patches show, from logits `[B, N, sum(kinds)]`.

    Labels are `[B, len(kinds), N]`; the backdrop, which most patches show, weighs a tenth.
    """
    total = logits.new_zeros(())
    for index, part in enumerate(logits.float().split(list(kinds), dim=-1)):
        weight = torch.ones(part.shape[-1], device=part.device)
        weight[0] = 0.1
        target = labels[:, index].flatten().long()
        total = total + F.cross_entropy(part.flatten(0, 1), target, weight)
    return total / len(kinds)
