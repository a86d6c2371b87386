"""Attention of packed query rows over keys and values that lie scattered in a table."""

import torch
from torch import Tensor
from torch.nn import functional as F


def paged_attention(q: Tensor, starts: Tensor, table: Tensor, page: Tensor, heads: int) -> Tensor:
    """Attend from each frame's own queries to all N keys and values that its page names.

    Args:
        q: `[R, D]` query rows, frame after frame; the heads lie side by side.
        starts: int32 `[F + 1]`, frame f owns rows `starts[f]` to `starts[f + 1]`.
        table: `[T, 2D]`, the key and then the value of each row.
        page: int32 `[F, N]`, the table row of each position of each frame.
        heads: number of heads.

    Returns:
        `[R, D]`, as `scaled_dot_product_attention` gives it, heads side by side.
    """
    if q.ndim != 2 or table.ndim != 2 or table.shape[1] != 2 * q.shape[1]:
        raise ValueError(f"expected [R, D] and [T, 2D], got {q.shape = }, {table.shape = }")
    if starts.shape != (page.shape[0] + 1,) or q.shape[1] % heads:
        raise ValueError(
            f"expected [F + 1] and [F, N], got {starts.shape = }, {page.shape = }, {heads = }"
        )
    return paged_attention_reference(q, starts, table, page, heads)


def paged_attention_reference(
    q: Tensor, starts: Tensor, table: Tensor, page: Tensor, heads: int
) -> Tensor:
    """`softmax(q K[page]^T / sqrt(dh)) V[page]` per frame and head."""
    frames, tokens = page.shape
    bounds = starts.tolist()
    rows = table.index_select(0, page.reshape(-1).long())  # whole rows copy three times faster
    k, v = rows.view(frames, tokens, 2, heads, -1).permute(2, 0, 3, 1, 4)  # [F, H, N, dh]
    mixed = torch.empty_like(q)
    for frame in range(frames):
        here = slice(bounds[frame], bounds[frame + 1])
        own = q[here].view(1, -1, heads, k.shape[-1]).transpose(1, 2)  # [1, H, n, dh]
        if own.shape[2]:
            part = F.scaled_dot_product_attention(own, k[frame, None], v[frame, None])
            mixed[here] = part[0].transpose(0, 1).reshape(own.shape[2], -1)
    return mixed
