"""Which tokens are computed, by how far they are from where they were last computed."""

from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import torch
from torch import Tensor

R = TypeVar("R", bound="ChangeRule")


class ChangeRule(Protocol):
    """Chooses among patch tokens."""

    @property
    def ranked(self) -> bool:
        """Whether so many are computed, by Euclidean distance; else all beyond a threshold."""

    @property
    def limit(self) -> float:
        """How many, the class token included; or the threshold."""

    def computed(self, mixed: Tensor, before: Tensor) -> Tensor:
        """Which to compute, bool `[T, n]`, by pre-projections P `[T, n, D]` now and then."""

    def with_scale(self: R, scale: float) -> R:
        """Compute fewer (above 1) or more; at 0 all."""


@dataclass(frozen=True, slots=True)
class Farther:
    """CMC: those whose sum of absolute differences is the threshold or more."""

    threshold: float
    ranked: bool = field(default=False, init=False)

    @property
    def limit(self) -> float:
        """The threshold."""
        return self.threshold

    def computed(self, mixed: Tensor, before: Tensor) -> Tensor:
        """Compare; what is not a number is computed."""
        return ~((mixed.float() - before.float()).abs().sum(-1) < self.threshold)

    def with_scale(self, scale: float) -> "Farther":
        """Multiply the threshold."""
        return replace(self, threshold=self.threshold * scale)


@dataclass(frozen=True, slots=True)
class Farthest:
    """Eventful: the k that are farthest, by Euclidean distance."""

    k: int
    patches: int
    ranked: bool = field(default=True, init=False)

    @property
    def limit(self) -> float:
        """So many, and the class token."""
        return self.k + 1.0

    def computed(self, mixed: Tensor, before: Tensor) -> Tensor:
        """Compare and rank."""
        distance = torch.linalg.vector_norm(mixed.float() - before.float(), dim=-1)
        chosen = distance.topk(min(self.k, self.patches), dim=1).indices
        return torch.zeros_like(distance, dtype=torch.bool).scatter_(1, chosen, True)

    def with_scale(self, scale: float) -> "Farthest":
        """Reuse that many times as many."""
        reused = min(round((self.patches - self.k) * scale), self.patches)
        return replace(self, k=self.patches - reused)
