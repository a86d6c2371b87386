"""What a reused token's states miss, predicted from the difference of its pre-projection."""

import torch
from torch import Tensor, nn

PARTS = 4  # h, q, k, v


class Restoration(nn.Module):
    """Four bias-free bottlenecks, `U ReLU(V d)`: no difference, no correction."""

    def __init__(self, width: int, narrow: int = 64) -> None:
        super().__init__()
        bound = width**-0.5, max(narrow, 1) ** -0.5  # as nn.Linear
        self.down = nn.Parameter(torch.empty(PARTS * narrow, width).uniform_(-bound[0], bound[0]))
        self.up = nn.Parameter(torch.empty(PARTS, narrow, width).uniform_(-bound[1], bound[1]))

    def forward(self, difference: Tensor) -> Tensor:
        """Corrections `[B, N, 4D]` of h, q, k, v from differences `[B, N, D]`."""
        narrow = (difference @ self.down.T).relu().unflatten(-1, self.up.shape[:2])
        return torch.einsum("...xc,xcd->...xd", narrow, self.up).flatten(-2)
