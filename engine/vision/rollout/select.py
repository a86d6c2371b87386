"""Which patches of a frame are kept: by their scores, or on a grid whatever the scores."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from engine.errors import UsageError, unknown

Grid = Literal["full", "1in2", "1in4"]
GRIDS: tuple[Grid, ...] = ("full", "1in2", "1in4")


@dataclass(frozen=True, slots=True)
class PatchShares:
    """How many patches are foreground, and which of these and of the others are kept."""

    keep: float = 0.25  # share of the patches that are foreground
    foreground: float = 1.0  # share of those that is kept, evenly over their order of scores
    background: float = 0.1  # share of the others that is kept, evenly over the picture

    def __post_init__(self) -> None:
        for name, value in (("keep", self.keep), ("foreground", self.foreground)):
            if not 0 < value <= 1:
                raise UsageError(f"{name} {value:g}; allowed: above 0, at most 1")
        if not 0 <= self.background <= 1:
            raise UsageError(f"background {self.background:g}; allowed: 0 to 1")

    def count(self, patches: int) -> int:
        """How many patches are kept of so many."""
        front = round(self.keep * patches)
        return -(-front // self._stride(self.foreground)) + (
            -(-(patches - front) // self._stride(self.background)) if self.background else 0
        )

    def choose(self, scores: Tensor) -> Tensor:
        """Patches that are kept, int64 `[T, kept]`, by their scores `[T, P]`.

        The foreground comes by falling score, equal ones by place, then the background by place.
        """
        front = round(self.keep * scores.shape[1])
        order = scores.argsort(dim=1, descending=True, stable=True)
        fore = order[:, : front : self._stride(self.foreground)]
        if not self.background:
            return fore
        back = order[:, front:].sort(dim=1).values[:, :: self._stride(self.background)]
        return torch.cat([fore, back], 1)

    def scaled(self, scale: float) -> "PatchShares":
        """Drop that many times as many patches; at 0 none."""

        def fit(share: float) -> float:
            return min(1.0, max(1e-6, 1 - (1 - share) * scale))

        return PatchShares(fit(self.keep), fit(self.foreground), self.background)

    @staticmethod
    def _stride(share: float) -> int:
        return round(1 / share)


def grid_patches(grid: Grid, side: int) -> Tensor:
    """Patches `[kept]` on a grid: all, those of one colour of a chequerboard, or each fourth."""
    if grid not in GRIDS:
        raise UsageError(unknown("reset", grid, GRIDS))
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    if grid == "full":
        return torch.arange(side * side)
    on = (rows + columns) % 2 == 0 if grid == "1in2" else (rows % 2 == 0) & (columns % 2 == 0)
    return on.flatten().nonzero()[:, 0]
