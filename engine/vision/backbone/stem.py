"""A patch embedded by convolutions that never leave it: each patch is still by itself."""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn
from torch.nn import functional as F


class PatchStem(nn.Module):
    """Convolutions whose steps are as wide as their kernels, a GELU between two, as products.

    A normalisation by batch statistics lies in the weights, so that it is none any more.
    """

    def __init__(self, steps: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        channels = 3
        self.edges = [edge for edge, _ in steps]
        self.products = nn.ModuleList()
        for edge, made in steps:
            self.products.append(nn.Linear(channels * edge * edge, made))
            channels = made

    def forward(self, patches: Tensor) -> Tensor:
        """Embed patches `[..., 3·p²]`: `[..., D]`."""
        side = prod(self.edges)
        grid = patches.reshape(patches.shape[:-1].numel(), 3, side, side)
        for number, (edge, product) in enumerate(zip(self.edges, self.products, strict=True)):
            side //= edge
            cells = grid.unflatten(3, (side, edge)).unflatten(2, (side, edge))
            rows = product(cells.permute(0, 2, 4, 1, 3, 5).flatten(3))  # [R, side, side, C]
            if number + 1 < len(self.edges):
                rows = F.gelu(rows)
            grid = rows.permute(0, 3, 1, 2)
        return grid.flatten(1).unflatten(0, patches.shape[:-1])
