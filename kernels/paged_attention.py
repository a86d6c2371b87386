"""Attention of packed query rows over keys and values that lie scattered in a table."""

import torch
from torch import Tensor
from torch.nn import functional as F


def paged_attention(
    q: Tensor, starts: Tensor, keys: Tensor, values: Tensor, page: Tensor, heads: int
) -> Tensor:
    """Attend from each frame's own queries to all N keys and values that its page names.

    Args:
        q: `[R, D]` query rows, frame after frame; the heads lie side by side.
        starts: int32 `[F + 1]`, frame f owns rows `starts[f]` to `starts[f + 1]`.
        keys: `[T, D]` table of keys; rows may be strided.
        values: `[T, D]` table of values, likewise.
        page: int32 `[F, N]`, the table row of each position of each frame.
        heads: number of heads.

    Returns:
        `[R, D]`, as `scaled_dot_product_attention` gives it, heads side by side.
    """
    if q.ndim != 2 or keys.shape != values.shape or q.shape[1] != keys.shape[1]:
        raise ValueError(
            f"expected [R, D], [T, D] twice, got {q.shape = }, {keys.shape = }, {values.shape = }"
        )
    if starts.shape != (page.shape[0] + 1,) or q.shape[1] % heads:
        raise ValueError(
            f"expected [F + 1] and [F, N], got {starts.shape = }, {page.shape = }, {heads = }"
        )
    return paged_attention_reference(q, starts, keys, values, page, heads)


def paged_attention_reference(
    q: Tensor, starts: Tensor, keys: Tensor, values: Tensor, page: Tensor, heads: int
) -> Tensor:
    """`softmax(q K[page]^T / sqrt(dh)) V[page]` per frame and head."""
    frames, tokens = page.shape
    bounds = starts.tolist()
    index = page.reshape(-1).long()
    k = keys[index].view(frames, tokens, heads, -1).transpose(1, 2)  # [F, H, N, dh]
    v = values[index].view(frames, tokens, heads, -1).transpose(1, 2)
    mixed = torch.empty_like(q)
    for frame in range(frames):
        rows = slice(bounds[frame], bounds[frame + 1])
        own = q[rows].view(1, -1, heads, k.shape[-1]).transpose(1, 2)  # [1, H, n, dh]
        if own.shape[2]:
            part = F.scaled_dot_product_attention(own, k[frame, None], v[frame, None])
            mixed[rows] = part[0].transpose(0, 1).reshape(own.shape[2], -1)
    return mixed
