"""The loss: the worst frame's similarity to the teacher, its hidden states, and reuse missed."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.training.crew import ALONE, Crew
from engine.training.reusevit.config import ReuseTraining
from engine.training.reusevit.soft import SoftReused
from engine.vision.backbone.tower import VisionTower


@dataclass(frozen=True, slots=True)
class Teacher:
    """What the untouched tower makes of frames."""

    embeddings: Tensor  # [B, F, E]
    hidden: Sequence[Tensor]  # after layer 0, 1, ..., each [B, F, N, D]


@dataclass(frozen=True, slots=True)
class ReuseLosses:
    """The loss and its terms, and the reuse rate that it saw."""

    total: Tensor
    similarity: Tensor
    hidden: Tensor
    reuse: Tensor
    rate: Tensor


@torch.no_grad()
def teach(tower: VisionTower, values: Tensor) -> Teacher:
    """Run the untouched tower on normalised frames `[B, F, 3, S, S]`."""
    clips, frames = values.shape[:2]
    h, hidden = tower.embed(values.flatten(0, 1)), []
    for index in range(tower.config.layers):
        h = tower.layer(index)(h)
        hidden.append(h.unflatten(0, (clips, frames)))
    return Teacher(tower.finish(h).unflatten(0, (clips, frames)), hidden)


def reuse_loss(
    result: SoftReused,
    teacher: Teacher,
    config: ReuseTraining,
    scored: int,
    crew: Crew = ALONE,
) -> ReuseLosses:
    """Score the last `scored` slots of the clips, against the teacher's view of those.

    Whether too little is reused is asked of the clips of the whole crew.
    """
    similarity = worst_frame(result.embeddings[:, -scored:], teacher.embeddings)
    hidden = torch.zeros_like(similarity)
    states = zip([*result.hidden, result.last][::-1], teacher.hidden[::-1], strict=True)
    for weight, (ours, theirs) in zip(config.weight_hidden, states, strict=False):
        if weight:
            hidden = hidden + weight * worst_frame(ours[:, -scored:], theirs)
    rate = crew.mean(reuse_rate(result.shares[:, -scored:], config.cap))
    reuse = (config.target - rate).relu()
    total = config.weight_similarity * similarity + hidden + config.weight_reuse * reuse
    return ReuseLosses(total, similarity, hidden, reuse, rate)


def worst_frame(ours: Tensor, theirs: Tensor) -> Tensor:
    """One minus the mean of the least cosine over the frames, of `[B, F, ..., D]`."""
    cosines = F.cosine_similarity(ours.float(), theirs.float(), dim=-1)
    return 1 - cosines.amin(1).mean()


def reuse_rate(shares: Tensor, cap: float) -> Tensor:
    """Mean reuse of shares `[B, F, L - 1, N]`, with a little more weight on the last slot.

    As published: each frame's rate at a gate counts up to `cap`, and the last slot's mean over all
    gates once more, because two near frames stand in every group.
    """
    clips, frames, gates = shares.shape[:3]
    per_gate = shares.mean(-1)
    total = per_gate.clamp(max=cap).sum() + per_gate[:, -1].mean(1).sum()
    return total / (frames * clips * gates + clips)
