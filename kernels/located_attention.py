"""Attention whose scores may depend on how far below and to the right of a query a key lies."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.launch import runs_triton

BLOCK_M, BLOCK_N = 64, 64
LOG2E = tl.constexpr(1.4426950408889634)  # exp2 in place of exp


def attend_located(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    down: Tensor | None = None,
    right: Tensor | None = None,
    places: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Attend from some tokens to all tokens of a square, or of any sequence without `down`.

    Args:
        q: `[B, H, K, C]`, C a power of two of at least 16; the last dimension is contiguous.
        k: `[B, H, N, C]`, likewise.
        v: with the strides of `k`.
        down: `[B, H, K, 2 S - 1]` with S² = N, contiguous: what is added to a query's scores of the
            keys S - 1 rows below it, then S - 2 below, and so on to S - 1 above.
        right: likewise, for columns.
        places: int32 `[B, K]`, contiguous: which of the tokens the queries are, with `down`.

    Returns:
        The heads' outputs side by side, `[B, K, H C]`, and float32 `[B, H, K]`, the logarithm of
        the sum of each query's exponentials, to which `join_heads` refers.
    """
    batch, heads, rows, size = q.shape
    if k.shape != (batch, heads, k.shape[2], size) or v.stride() != k.stride():
        raise ValueError(f"expected [B, H, K, C] and [B, H, N, C], got {q.shape = }, {k.shape = }")
    side = square_side(k.shape[2], down, right, places)
    if not runs_triton(q):
        return attend_located_reference(q, k, v, down, right, places)
    out = q.new_empty(batch, rows, heads * size)
    sums = torch.empty(batch, heads, rows, dtype=torch.float32, device=q.device)
    if out.numel() == 0:
        return out, sums
    _attend_located_kernel[(triton.cdiv(rows, BLOCK_M), batch * heads)](
        q_ptr=q,
        k_ptr=k,
        v_ptr=v,
        down_ptr=down,
        right_ptr=right,
        places_ptr=places,
        out_ptr=out,
        sums_ptr=sums,
        q_batch=q.stride(0),
        q_head=q.stride(1),
        q_row=q.stride(2),
        k_batch=k.stride(0),
        k_head=k.stride(1),
        k_row=k.stride(2),
        scale=size**-0.5,
        K=rows,
        N=k.shape[2],
        H=heads,
        C=size,
        S=side,
        BLOCK_S=max(16, triton.next_power_of_2(side)),
        BLOCK_M=BLOCK_M,
        BLOCK_N=BLOCK_N,
        num_warps=4,
        num_stages=3,
    )
    return out, sums


def square_side(keys: int, down: Tensor | None, right: Tensor | None, places: Tensor | None) -> int:
    """Tokens along a side of the square that relative places are of; 0: there are none."""
    if down is None and right is None and places is None:
        return 0
    if down is None or right is None or places is None or (down.shape[3] + 1) ** 2 != 4 * keys:
        raise ValueError(f"expected down, right and places in a square of {keys} keys, or none")
    return (down.shape[3] + 1) // 2


def attend_located_reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    down: Tensor | None,
    right: Tensor | None,
    places: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Define it: `softmax(q k^T / sqrt(C) + down + right) v` in float32."""
    scores = located_scores(q, k, down, right, places)
    mixed = scores.softmax(-1) @ v.float()
    return mixed.transpose(1, 2).flatten(2).to(q.dtype), scores.logsumexp(-1)


def located_scores(
    q: Tensor, k: Tensor, down: Tensor | None, right: Tensor | None, places: Tensor | None
) -> Tensor:
    """Scores, float32 `[B, H, K, N]`."""
    scores = q.float() @ k.float().transpose(-1, -2) * q.shape[-1] ** -0.5
    if down is None or right is None or places is None:
        return scores
    side = (down.shape[3] + 1) // 2
    keys = torch.arange(side, device=q.device)
    for table, at, shape in (
        (down, places // side, (side, 1)),
        (right, places % side, (1, side)),
    ):
        near = (at[..., None].long() - keys + side - 1)[:, None].expand(-1, q.shape[1], -1, -1)
        added = table.float().gather(3, near)
        scores = scores + added.unflatten(3, shape).expand(-1, -1, -1, side, side).flatten(3)
    return scores


@triton.jit
def located_rows(table_ptr, at, m, K, S, BLOCK_S: tl.constexpr):
    """What is added for each row, or column, of the square: `[BLOCK_M, BLOCK_S]`, others 0."""
    j = tl.arange(0, BLOCK_S)
    near = m[:, None] * (2 * S - 1) + S - 1 + at[:, None] - j[None, :]
    return tl.load(table_ptr + near, mask=(m < K)[:, None] & (j < S)[None, :], other=0.0)


@triton.jit
def spread_rows(added, line, BLOCK_S: tl.constexpr):
    """Hand what is added for rows, or columns, out to the keys that lie in each, `line` `[N]`.

    A product with ones and zeros: exact, and on tensor cores, where reading it for each pair of
    tokens would take longer than their attention.
    """
    j = tl.arange(0, BLOCK_S)
    chosen = (j[:, None] == line[None, :]).to(added.dtype)
    return tl.dot(added, chosen, input_precision="ieee")


@triton.jit
def _attend_located_kernel(
    q_ptr,  # [B, H, K, C]
    k_ptr,  # [B, H, N, C]
    v_ptr,  # [B, H, N, C]
    down_ptr,  # [B, H, K, 2 S - 1] or None
    right_ptr,  # [B, H, K, 2 S - 1] or None
    places_ptr,  # [B, K] or None
    out_ptr,  # [B, K, H C]
    sums_ptr,  # [B, H, K]
    q_batch,
    q_head,
    q_row,
    k_batch,
    k_head,
    k_row,
    scale,
    K,
    N,
    H,
    C: tl.constexpr,
    S,
    BLOCK_S: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    batch = (tl.program_id(1) // H).to(tl.int64)
    head = tl.program_id(1) % H
    m, c = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M), tl.arange(0, C)
    q_ptr += batch * q_batch + head * q_head
    k_ptr += batch * k_batch + head * k_head
    v_ptr += batch * k_batch + head * k_head
    if down_ptr is not None:
        down_ptr += (batch * H + head) * K * (2 * S - 1)
        right_ptr += (batch * H + head) * K * (2 * S - 1)
        places_ptr += batch * K
    q = tl.load(q_ptr + m[:, None] * q_row + c[None, :], mask=(m < K)[:, None], other=0.0)
    if down_ptr is not None:
        at = tl.load(places_ptr + m, mask=m < K, other=0)
        below = located_rows(down_ptr, at // S, m, K, S, BLOCK_S)
        aside = located_rows(right_ptr, at % S, m, K, S, BLOCK_S)
    peak = tl.full((BLOCK_M,), -1.0e30, tl.float32)
    total = tl.zeros((BLOCK_M,), tl.float32)
    acc = tl.zeros((BLOCK_M, C), tl.float32)
    for start in range(0, N, BLOCK_N):
        n = start + tl.arange(0, BLOCK_N)
        where = n[:, None] * k_row + c[None, :]
        k = tl.load(k_ptr + where, mask=(n < N)[:, None], other=0.0)
        v = tl.load(v_ptr + where, mask=(n < N)[:, None], other=0.0)
        s = tl.dot(q, k.T, input_precision="ieee") * (scale * LOG2E)
        if down_ptr is not None:
            s += spread_rows(below, n // S, BLOCK_S) * LOG2E
            s += spread_rows(aside, n % S, BLOCK_S) * LOG2E
        s = tl.where((n < N)[None, :], s, -1.0e30)
        new_peak = tl.maximum(peak, tl.max(s, 1))
        shrink = tl.exp2(peak - new_peak)
        p = tl.exp2(s - new_peak[:, None])
        total = total * shrink + tl.sum(p, 1)
        acc = tl.dot(p.to(v.dtype), v, acc * shrink[:, None], input_precision="ieee")
        peak = new_peak
    mixed = (acc / total[:, None]).to(out_ptr.dtype.element_ty)
    target = out_ptr + (batch * K + m)[:, None] * (H * C) + head * C + c[None, :]
    tl.store(target, mixed, mask=(m < K)[:, None])
    sums = (peak + tl.log2(total)) / LOG2E
    tl.store(sums_ptr + (batch * H + head) * K + m, sums, mask=m < K)
