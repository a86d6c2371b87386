"""How much each patch of a frame gave to its embedding."""

from collections.abc import Sequence

import torch
from torch import Tensor


def fuse(weights: Tensor) -> Tensor:
    """Attention `[T, H, K, K]` as one matrix `[T, K, K]`: the root mean square over heads."""
    return weights.float().square().mean(1).sqrt()


def roll(start: Tensor, fused: Sequence[Tensor], first: Tensor, kept: Tensor | None) -> Tensor:
    """Share of each token of layer 0 in a mix of the last layer's tokens, `[T, K]`.

    Attention and the residual path count for half each. One vector is carried down through the
    layers, which gives what the product of all their matrices would.

    Args:
        start: weights of the last layer's tokens in the mix, `[T, K]`.
        fused: attention of layers 1 and on, each `[T, K, K]`.
        first: attention of layer 0, `[T, N, N]`.
        kept: which of its tokens went on, int64 `[T, K]`; None: all.
    """
    row = start.float()
    for matrix in reversed(fused):
        row = _step(row, matrix)
    if kept is None:
        return _step(row, first)
    # rows are normalised over all tokens, those dropped too
    scaled = row / (first.sum(2) + 1).gather(1, kept)
    columns = kept[:, None].expand(-1, kept.shape[1], -1)
    rows = first.gather(1, kept[..., None].expand(-1, -1, first.shape[2]))
    return (scaled[:, None] @ rows.gather(2, columns))[:, 0] + scaled


def roll_class(last: Tensor, fused: Sequence[Tensor]) -> Tensor:
    """Roll from the class token, by what it attended to in the last layer `[T, K]`, `[T, K]`."""
    start = torch.zeros_like(last)
    start[:, 0] = 1
    row = (last + start) / (last.sum(1, keepdim=True) + 1)
    for matrix in reversed(fused):
        row = _step(row, matrix)
    return row


def _step(row: Tensor, matrix: Tensor) -> Tensor:
    """One layer down: `row` times the matrix with the identity added, each row made to sum to 1."""
    scaled = row / (matrix.sum(2) + 1)
    return (scaled[:, None] @ matrix)[:, 0] + scaled


def fill(heat: Tensor, kept: Tensor, keys: Tensor) -> Tensor:
    """Heat of all patches, `[T, P]`, summing to 1: one dropped has that of the kept most like it.

    Args:
        heat: of the patches kept, `[T, kept]`.
        kept: which they are.
        keys: of all patches in layer 0, mean over heads, `[T, P, dh]`.
    """
    own = keys.gather(1, kept[..., None].expand(-1, -1, keys.shape[2]))
    home = (keys.float() @ own.float().transpose(1, 2)).argmax(2)
    spread = heat.gather(1, home).scatter(1, kept, heat)
    return spread / spread.sum(1, keepdim=True)
