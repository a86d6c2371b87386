"""Which tokens of each frame are computed, by how far they have moved; their rows, packed."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.launch import runs_triton
from kernels.rank import rank_of

ROWS = 32  # tokens that a program decides on


def choose_rows(
    distance: Tensor,
    limit: Tensor,
    there: Tensor,
    full: Tensor,
    rows: Tensor,
    count: Tensor,
    numbers: Tensor,
    *,
    ranked: bool,
    keep_first: bool = True,
) -> None:
    """List the rows `b N + n` of the tokens to compute, in any order.

    Args:
        distance: float32 `[B, N]`.
        limit: float32 `[1]`: with `ranked` as many tokens of each frame as it says, the farthest,
            of equal ones the earlier; else those as far as that or farther, or not a number.
        there: uint8 `[B]`; nothing is chosen of the other frames.
        full: uint8 `[B]`, frames of which everything is.
        rows: int32 `[B N]`, filled from its start.
        count: int32 `[1]`, how many rows were filled; zero before the call.
        numbers: int32 `[B]`, how many of each frame; zero before the call.
        ranked: see `limit`.
        keep_first: token 0 is chosen, and is one of the ranked.
    """
    frames, tokens = distance.shape
    if len(rows) < distance.numel() or numbers.shape != (frames,):
        raise ValueError(f"expected room for [B, N], got {distance.shape = }, {rows.shape = }")
    if not runs_triton(distance):
        return choose_rows_reference(
            distance, limit, there, full, rows, count, numbers, ranked, keep_first
        )
    _choose_rows_kernel[(frames, triton.cdiv(tokens, ROWS))](
        distance_ptr=distance,
        limit_ptr=limit,
        there_ptr=there,
        full_ptr=full,
        rows_ptr=rows,
        count_ptr=count,
        numbers_ptr=numbers,
        N=tokens,
        RANKED=ranked,
        KEEP_FIRST=keep_first,
        ROWS=ROWS,
        BLOCK=triton.next_power_of_2(tokens),
        num_warps=4,
    )
    return None


def choose_rows_reference(
    distance: Tensor,
    limit: Tensor,
    there: Tensor,
    full: Tensor,
    rows: Tensor,
    count: Tensor,
    numbers: Tensor,
    ranked: bool,
    keep_first: bool,
) -> None:
    """Define it."""
    far = distance.clone()
    if keep_first:
        far[:, 0] = torch.inf
    if ranked:
        rank = far.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        chosen = rank < limit
    else:
        chosen = ~(far < limit)
    chosen = (chosen | full.bool()[:, None]) & there.bool()[:, None]
    listed = chosen.flatten().nonzero().squeeze(1)
    rows[: len(listed)] = listed.int()
    count.fill_(len(listed))
    numbers.copy_(chosen.sum(1))


@triton.jit
def _load_far(distance_ptr, at, N, KEEP_FIRST: tl.constexpr):
    far = tl.load(distance_ptr + at, mask=at < N, other=float("-inf"))
    if KEEP_FIRST:
        far = tl.where(at == 0, float("inf"), far)
    return far


@triton.jit
def _choose_rows_kernel(
    distance_ptr,  # [B, N]
    limit_ptr,  # [1]
    there_ptr,  # [B]
    full_ptr,  # [B]
    rows_ptr,  # [B N]
    count_ptr,  # [1]
    numbers_ptr,  # [B]
    N,
    RANKED: tl.constexpr,
    KEEP_FIRST: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    # a program decides on ROWS of a frame's tokens
    frame = tl.program_id(0)
    if tl.load(there_ptr + frame) > 0:
        limit = tl.load(limit_ptr)
        m = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
        far = _load_far(distance_ptr + frame * N, m, N, KEEP_FIRST)
        if RANKED:
            n = tl.arange(0, BLOCK)
            everything = _load_far(distance_ptr + frame * N, n, N, KEEP_FIRST)
            chosen = rank_of(far, m, everything, n).to(tl.float32) < limit
        else:
            chosen = (far < limit) == 0
        chosen = (m < N) & (chosen | (tl.load(full_ptr + frame) > 0))
        taken = chosen.to(tl.int32)
        num = tl.sum(taken)
        base = tl.atomic_add(count_ptr, num)
        tl.atomic_add(numbers_ptr + frame, num)
        tl.store(rows_ptr + base + tl.cumsum(taken, 0) - taken, frame * N + m, mask=chosen)
