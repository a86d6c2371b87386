"""The most similar of some tokens for each of others, frame by frame."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

from kernels.launch import runs_triton

BLOCK_S, BLOCK_T = 16, 64  # sources and targets of a block
EPS = 1e-12  # a shorter row is as one of this length


def match_tokens(
    rows: Tensor, sources: Tensor, targets: Tensor, *, skip_first: bool = False
) -> tuple[Tensor, Tensor]:
    """Find for each source the target whose cosine is largest; the first wins ties.

    Args:
        rows: `[F, N, C]`, contiguous.
        sources: int32 `[F, s]`, places of each frame's tokens; the last dimension is contiguous.
        targets: int32 `[F, m]`, likewise, m at least 1, or 2 with `skip_first`.
        skip_first: the first target is nobody's.

    Returns:
        float32 `[F, s]`, the cosine, and int32 `[F, s]`, the place among the targets.
    """
    frames, num = sources.shape
    if rows.ndim != 3 or len(rows) != frames or len(targets) != frames:
        given = [tuple(each.shape) for each in (rows, sources, targets)]
        raise ValueError(f"expected [F, N, C], [F, s] and [F, m], got {given}")
    if not runs_triton(rows):
        return match_tokens_reference(rows, sources, targets, skip_first=skip_first)
    cosine = torch.empty(frames, num, device=rows.device)
    home = torch.empty(frames, num, dtype=torch.int32, device=rows.device)
    width = rows.shape[2]
    if num and frames:
        _match_tokens_kernel[(frames, triton.cdiv(num, BLOCK_S))](
            rows_ptr=rows,
            sources_ptr=sources,
            targets_ptr=targets,
            cosine_ptr=cosine,
            home_ptr=home,
            N=rows.shape[1],
            S=num,
            M=targets.shape[1],
            source_stride=sources.stride(0),
            target_stride=targets.stride(0),
            eps=EPS,
            C=width,
            SKIP=skip_first,
            BLOCK_S=BLOCK_S,
            BLOCK_T=BLOCK_T,
            BLOCK_C=max(16, min(128, triton.next_power_of_2(width))),
            num_warps=4,
            num_stages=3,
        )
    return cosine, home


def match_tokens_reference(
    rows: Tensor, sources: Tensor, targets: Tensor, *, skip_first: bool = False
) -> tuple[Tensor, Tensor]:
    """Define it."""
    ours, theirs = (
        F.normalize(pick_tokens(rows, at).float(), dim=-1, eps=EPS) for at in (sources, targets)
    )
    similar = ours @ theirs.transpose(1, 2)
    if skip_first:
        similar[..., 0] = -torch.inf
    cosine, home = similar.max(-1)
    return cosine, home.int()


def pick_tokens(rows: Tensor, places: Tensor) -> Tensor:
    """Tokens `[F, n, C]` at places `[F, n]` of rows `[F, N, C]`."""
    return rows.gather(1, places.long()[..., None].expand(-1, -1, rows.shape[-1]))


@triton.jit
def _match_tokens_kernel(
    rows_ptr,  # [F, N, C]
    sources_ptr,  # [F, s]
    targets_ptr,  # [F, m]
    cosine_ptr,  # [F, s]
    home_ptr,  # [F, s]
    N,
    S,
    M,
    source_stride,
    target_stride,
    eps,
    C: tl.constexpr,
    SKIP: tl.constexpr,
    BLOCK_S: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    # a program finds the targets of BLOCK_S sources; lengths are summed beside the products
    frame = tl.program_id(0).to(tl.int64)
    s, c = tl.program_id(1) * BLOCK_S + tl.arange(0, BLOCK_S), tl.arange(0, BLOCK_C)
    rows_ptr += frame * N * C
    there = s < S
    source = tl.load(sources_ptr + frame * source_stride + s, mask=there, other=0)
    best = tl.full((BLOCK_S,), float("-inf"), tl.float32)
    home = tl.zeros((BLOCK_S,), tl.int32)
    for first in range(0, M, BLOCK_T):
        t = first + tl.arange(0, BLOCK_T)
        target = tl.load(targets_ptr + frame * target_stride + t, mask=t < M, other=0)
        dots = tl.zeros((BLOCK_S, BLOCK_T), tl.float32)
        ours = tl.zeros((BLOCK_S,), tl.float32)
        theirs = tl.zeros((BLOCK_T,), tl.float32)
        for start in range(0, C, BLOCK_C):
            inside = (start + c < C)[None, :]
            a = tl.load(rows_ptr + source[:, None] * C + start + c[None, :], mask=inside, other=0.0)
            b = tl.load(rows_ptr + target[:, None] * C + start + c[None, :], mask=inside, other=0.0)
            dots = tl.dot(a, b.T, dots, input_precision="ieee")
            ours += tl.sum(a.to(tl.float32) * a.to(tl.float32), 1)
            theirs += tl.sum(b.to(tl.float32) * b.to(tl.float32), 1)
        ours, theirs = tl.maximum(tl.sqrt(ours), eps), tl.maximum(tl.sqrt(theirs), eps)
        cosine = dots / ours[:, None] / theirs[None, :]
        allowed = t < M
        if SKIP:
            allowed = allowed & (t > 0)
        cosine = tl.where(allowed[None, :], cosine, float("-inf"))
        nearest = tl.max(cosine, 1)
        at = tl.argmax(cosine, 1) + first
        home = tl.where(nearest > best, at, home)
        best = tl.maximum(nearest, best)
    tl.store(cosine_ptr + frame * S + s, best, mask=there)
    tl.store(home_ptr + frame * S + s, home, mask=there)
