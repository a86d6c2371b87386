"""How alike a token's pre-projection is to a reference's at the same place."""

import torch
from torch import Tensor

from kernels.select import EPS


def unit(x: Tensor) -> Tensor:
    """`x / (|x| + 1e-7)` along the last dimension, in float32."""
    x = x.float()
    return x / (torch.linalg.vector_norm(x, dim=-1, keepdim=True) + EPS)


def nearest(own: Tensor, references: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Similarity to the nearest reference and its number, both `[B, N]`; the first wins ties.

    Args:
        own: pre-projections `[B, N, D]`.
        references: those of each reference, `[B, N, D]`.
    """
    ours = unit(own)
    similarities = torch.stack([(ours * unit(each)).sum(-1) for each in references])
    best, which = similarities[0], torch.zeros_like(similarities[0], dtype=torch.long)
    for at, other in enumerate(similarities[1:], 1):
        which = torch.where(other > best, at, which)
        best = torch.maximum(best, other)
    return best, which
