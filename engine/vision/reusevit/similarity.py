"""How alike a token's pre-projection is to a reference's at the same place."""

import torch
from torch import Tensor

from kernels.select import EPS


def nearest(own: Tensor, references: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Similarity to the nearest reference and its number, both `[B, N]`; the first wins ties.

    Similarity is the product of `x / (|x| + 1e-7)` of both, in float32.

    Args:
        own: pre-projections `[B, N, D]`.
        references: those of each reference, `[B, N, D]`.
    """
    length = _length(own)
    similarities = torch.stack(
        [
            torch.linalg.vecdot(own.float(), each.float()) / (length * _length(each))
            for each in references
        ]
    )
    best, which = similarities[0], torch.zeros_like(similarities[0], dtype=torch.long)
    for at, other in enumerate(similarities[1:], 1):
        which = torch.where(other > best, at, which)
        best = torch.maximum(best, other)
    return best, which


def _length(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=-1, dtype=torch.float32) + EPS
