"""The order of a frame's tokens by a score, the same whatever runs beside it."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.launch import runs_triton

ROWS = 32  # that a program ranks


def rank_tokens(scores: Tensor, *, first: bool = False) -> Tensor:
    """Order each frame's tokens by the sum of their scores, the largest first.

    Args:
        scores: float32 `[F, H, n]`, none of them not a number.
        first: token 0 comes first, whatever its score.

    Returns:
        int32 `[F, n]`, the tokens in their order; of equal ones the earlier comes first.
    """
    if scores.ndim != 3:
        raise ValueError(f"expected [F, H, n], got {scores.shape = }")
    if not runs_triton(scores):
        return rank_tokens_reference(scores, first=first)
    frames, heads, tokens = scores.shape
    order = torch.empty(frames, tokens, dtype=torch.int32, device=scores.device)
    if scores.numel():
        _rank_tokens_kernel[(frames, triton.cdiv(tokens, ROWS))](
            scores_ptr=scores.contiguous(),
            order_ptr=order,
            N=tokens,
            H=heads,
            FIRST=first,
            ROWS=ROWS,
            BLOCK=triton.next_power_of_2(tokens),
            num_warps=4,
        )
    return order


def rank_tokens_reference(scores: Tensor, *, first: bool = False) -> Tensor:
    """Define it."""
    sums = scores.sum(1)
    if first:
        sums[:, 0] = torch.inf
    return sums.argsort(dim=1, descending=True, stable=True).int()


@triton.jit
def rank_of(own, m, scores, n):
    """How many of `scores` at places `n`, -inf where there is none, come before each of `own`."""
    larger = scores[None, :] > own[:, None]
    earlier = (scores[None, :] == own[:, None]) & (n[None, :] < m[:, None])
    return tl.sum((larger | earlier).to(tl.int32), 1)


@triton.jit
def _sum_scores(scores_ptr, at, N, H: tl.constexpr, FIRST: tl.constexpr):
    score = tl.zeros(at.shape, tl.float32)
    for head in range(H):
        score += tl.load(scores_ptr + head * N + at, mask=at < N, other=float("-inf"))
    if FIRST:
        score = tl.where(at == 0, float("inf"), score)
    return score


@triton.jit
def _rank_tokens_kernel(
    scores_ptr,  # [F, H, N]
    order_ptr,  # [F, N]
    N,
    H: tl.constexpr,
    FIRST: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    # a program ranks ROWS of a frame's tokens among all
    frame = tl.program_id(0).to(tl.int64)
    m, n = tl.program_id(1) * ROWS + tl.arange(0, ROWS), tl.arange(0, BLOCK)
    scores_ptr += frame * H * N
    own = _sum_scores(scores_ptr, m, N, H, FIRST)
    rank = rank_of(own, m, _sum_scores(scores_ptr, n, N, H, FIRST), n)
    tl.store(order_ptr + frame * N + rank, m, mask=m < N)
