"""How much each patch of a frame gave to its embedding, and where it is in the next frame."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


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


def _step(row: Tensor, matrix: Tensor) -> Tensor:
    """One layer down: `row` times the matrix with the identity added, each row made to sum to 1."""
    scaled = row / (matrix.sum(2) + 1)
    return (scaled[:, None] @ matrix)[:, 0] + scaled


def track(heat: Tensor, before: Tensor, now: Tensor, side: int, reach: int) -> Tensor:
    """Scores `[T, P]` of a frame's patches: the heat of the patch before that is most like each.

    Like is the largest dot product of patch embeddings `[T, P, D]` among the places at most `reach`
    away; of equal ones the patch at the same place, then the first.
    """
    width = 2 * reach + 1
    places = torch.arange(width * width, device=now.device)
    order = torch.cat([places[width * width // 2].view(1), places[places != width * width // 2]])
    grid = before.transpose(1, 2).unflatten(2, (side, side))  # [T, D, side, side]
    padded = F.pad(grid, (reach,) * 4)
    inside = F.pad(torch.ones(side, side, dtype=torch.bool, device=now.device), (reach,) * 4)
    warm = F.pad(heat.unflatten(1, (side, side)), (reach,) * 4)
    like, found = [], []
    for place in order.tolist():
        down, right = divmod(place, width)
        cut = (slice(down, down + side), slice(right, right + side))
        there = padded[:, :, *cut].flatten(2).transpose(1, 2)
        dots = torch.linalg.vecdot(now.float(), there.float())
        like.append(dots.masked_fill(~inside[cut].flatten(), -torch.inf))
        found.append(warm[:, *cut].flatten(1))
    best = torch.stack(like).argmax(0, keepdim=True)
    return torch.stack(found).gather(0, best)[0]


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
