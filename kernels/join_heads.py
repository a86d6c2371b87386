"""What all heads of an attention weigh together: the root mean square of their weights."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.launch import runs_triton
from kernels.located_attention import LOG2E, located_rows, located_scores, spread_rows, square_side

BLOCK_M, BLOCK_N = 64, 64  # more of them do not fit the registers


def join_heads(
    q: Tensor,
    k: Tensor,
    sums: Tensor,
    down: Tensor | None = None,
    right: Tensor | None = None,
    places: Tensor | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Join the weights of an attention that was computed by `attend_located`.

    Args:
        q: `[B, H, K, C]`, as there.
        k: `[B, H, N, C]`, as there.
        sums: float32 `[B, H, K]` that it gave.
        down: as there.
        right: as there.
        places: as there.
        out: float32 `[B, K, N]`, contiguous; None allocates it.

    Returns:
        `out`, the root over the mean of squares of the heads' weights; no head's are written out.
    """
    batch, heads, rows, size = q.shape
    if sums.shape != q.shape[:3] or k.shape != (batch, heads, k.shape[2], size):
        raise ValueError(f"expected [B, H, K, C] and its sums, got {q.shape = }, {sums.shape = }")
    side = square_side(k.shape[2], down, right, places)
    if out is None:
        out = torch.empty(batch, rows, k.shape[2], dtype=torch.float32, device=q.device)
    if not runs_triton(q):
        return out.copy_(join_heads_reference(q, k, sums, down, right, places))
    if out.numel() == 0:
        return out
    grid = (triton.cdiv(rows, BLOCK_M), triton.cdiv(k.shape[2], BLOCK_N), batch)
    _join_heads_kernel[grid](
        q_ptr=q,
        k_ptr=k,
        sums_ptr=sums,
        down_ptr=down,
        right_ptr=right,
        places_ptr=places,
        out_ptr=out,
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
        num_stages=2,
    )
    return out


def join_heads_reference(
    q: Tensor,
    k: Tensor,
    sums: Tensor,
    down: Tensor | None,
    right: Tensor | None,
    places: Tensor | None,
) -> Tensor:
    """Define it: `sqrt(mean over heads of exp(scores - sums)²)`."""
    weights = (located_scores(q, k, down, right, places) - sums[..., None]).exp()
    return weights.square().mean(1).sqrt()


@triton.jit
def _join_heads_kernel(
    q_ptr,  # [B, H, K, C]
    k_ptr,  # [B, H, N, C]
    sums_ptr,  # [B, H, K]
    down_ptr,  # [B, H, K, 2 S - 1] or None
    right_ptr,  # [B, H, K, 2 S - 1] or None
    places_ptr,  # [B, K] or None
    out_ptr,  # [B, K, N]
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
    # a program has one tile of the joined weights, and goes through the heads
    batch = tl.program_id(2).to(tl.int64)
    m, c = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M), tl.arange(0, C)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    q_ptr += batch * q_batch
    k_ptr += batch * k_batch
    sums_ptr += batch * H * K
    if down_ptr is not None:
        down_ptr += batch * H * K * (2 * S - 1)
        right_ptr += batch * H * K * (2 * S - 1)
        at = tl.load(places_ptr + batch * K + m, mask=m < K, other=0)
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for _ in range(H):
        q = tl.load(q_ptr + m[:, None] * q_row + c[None, :], mask=(m < K)[:, None], other=0.0)
        k = tl.load(k_ptr + n[:, None] * k_row + c[None, :], mask=(n < N)[:, None], other=0.0)
        s = tl.dot(q, k.T, input_precision="ieee") * (scale * LOG2E)
        if down_ptr is not None:
            below = located_rows(down_ptr, at // S, m, K, S, BLOCK_S)
            aside = located_rows(right_ptr, at % S, m, K, S, BLOCK_S)
            s += spread_rows(below, n // S, BLOCK_S) * LOG2E
            s += spread_rows(aside, n % S, BLOCK_S) * LOG2E
        sums = tl.load(sums_ptr + m, mask=m < K, other=0.0) * LOG2E
        p = tl.exp2(s - sums[:, None])
        acc += p * p
        q_ptr += q_head
        k_ptr += k_head
        sums_ptr += K
        if down_ptr is not None:
            down_ptr += K * (2 * S - 1)
            right_ptr += K * (2 * S - 1)
    inside = (m < K)[:, None] & (n < N)[None, :]
    target = out_ptr + batch * K * N + m[:, None] * N + n[None, :]
    tl.store(target, tl.sqrt(acc / H), mask=inside)
