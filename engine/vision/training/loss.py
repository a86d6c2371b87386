"""What the built-in model learns from: captions, moments, choices and when they hold."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

SHARPNESS = 30.0  # how far the frames that matter outweigh the rest, as when answering


@dataclass(frozen=True, slots=True)
class Losses:
    """The parts of the loss, and how often a choice of four was right."""

    caption: Tensor
    moment: Tensor
    choice: Tensor
    time: Tensor
    accuracy: Tensor

    @property
    def total(self) -> Tensor:
        """The sum that is minimised."""
        return self.caption + 0.7 * self.moment + 0.7 * self.choice + 0.3 * self.time


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
