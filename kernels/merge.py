"""Tokens merged into others of their frame: their mean, and how many each then stands for."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.launch import runs_triton
from kernels.match import pick_tokens


def merge_tokens(
    h: Tensor,
    sizes: Tensor,
    kept: Tensor,
    moved: Tensor,
    home: Tensor,
    *,
    share: Tensor | None = None,
    weighted: bool = False,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Leave the kept tokens, in their order, each with what is moved to it.

    Args:
        h: `[F, N, D]`, contiguous.
        sizes: float32 `[F, N]`, how many tokens each stands for.
        kept: int32 `[F, m]`, places of those that stay; the last dimension is contiguous.
        moved: int32 `[F, s]`, of those that are merged, likewise.
        home: int32 `[F, s]`, for each of these the place among the kept that it goes to.
        share: float32 `[F, s]`, what part of its size goes with it; None: all.
        weighted: means are weighted by size; else every token counts once.
        out: `[F, m, D]`, contiguous; None allocates it.

    Returns:
        h `[F, m, D]` and sizes `[F, m]`.
    """
    frames, tokens, width = h.shape
    if sizes.shape != (frames, tokens) or moved.shape != home.shape:
        given = [tuple(each.shape) for each in (h, sizes, moved, home)]
        raise ValueError(f"expected [F, N, D], [F, N] and twice [F, s], got {given}")
    num, merged = kept.shape[1], moved.shape[1]
    if out is None:
        out = h.new_empty(frames, num, width)
    if not runs_triton(h):
        return merge_tokens_reference(h, sizes, kept, moved, home, share, weighted, out)
    grown = torch.empty(frames, num, device=h.device)
    if grown.numel():
        _merge_tokens_kernel[(frames * num,)](
            h_ptr=h,
            sizes_ptr=sizes,
            kept_ptr=kept,
            moved_ptr=moved,
            home_ptr=home,
            share_ptr=share,
            out_ptr=out,
            grown_ptr=grown,
            N=tokens,
            M=num,
            S=merged,
            kept_stride=kept.stride(0),
            moved_stride=moved.stride(0),
            D=width,
            WEIGHTED=weighted,
            BLOCK_S=max(16, triton.next_power_of_2(merged)),
            BLOCK_D=triton.next_power_of_2(width),
            num_warps=2,
        )
    return out, grown


def merge_tokens_reference(
    h: Tensor,
    sizes: Tensor,
    kept: Tensor,
    moved: Tensor,
    home: Tensor,
    share: Tensor | None,
    weighted: bool,
    out: Tensor,
) -> tuple[Tensor, Tensor]:
    """Define it."""
    own, gone = (sizes.gather(1, at.long()) for at in (kept, moved))
    weights = (own, gone) if weighted else (torch.ones_like(own), torch.ones_like(gone))
    stay, go = (
        pick_tokens(h, at).float() * weight[..., None]
        for at, weight in zip((kept, moved), weights, strict=True)
    )
    to = home.long()
    total = stay.scatter_add(1, to[..., None].expand_as(go), go)
    mean = total / weights[0].scatter_add(1, to, weights[1])[..., None]
    out.copy_(mean)
    return out, own.scatter_add(1, to, gone if share is None else gone * share)


@triton.jit
def _merge_tokens_kernel(
    h_ptr,  # [F, N, D]
    sizes_ptr,  # [F, N]
    kept_ptr,  # [F, m]
    moved_ptr,  # [F, s]
    home_ptr,  # [F, s]
    share_ptr,  # [F, s] or None
    out_ptr,  # [F, m, D]
    grown_ptr,  # [F, m]
    N,
    M,
    S,
    kept_stride,
    moved_stride,
    D: tl.constexpr,
    WEIGHTED: tl.constexpr,
    BLOCK_S: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    # one program for each kept token; most have nothing moved to them
    frame = (tl.program_id(0) // M).to(tl.int64)
    place = tl.program_id(0) % M
    h_ptr += frame * N * D
    sizes_ptr += frame * N
    d, s = tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_S)
    row = tl.load(kept_ptr + frame * kept_stride + place)
    grown = tl.load(sizes_ptr + row)
    weight = 1.0
    if WEIGHTED:
        weight = grown
    total = tl.load(h_ptr + row * D + d, mask=d < D, other=0.0).to(tl.float32) * weight
    homes = tl.load(home_ptr + frame * S + s, mask=s < S, other=-1)
    if tl.sum((homes == place).to(tl.int32)) > 0:
        for at in range(S):
            if tl.load(home_ptr + frame * S + at) == place:
                other = tl.load(moved_ptr + frame * moved_stride + at)
                gained = tl.load(sizes_ptr + other)
                counted = 1.0
                if WEIGHTED:
                    counted = gained
                x = tl.load(h_ptr + other * D + d, mask=d < D, other=0.0).to(tl.float32)
                total += x * counted
                weight += counted
                if share_ptr is not None:
                    gained *= tl.load(share_ptr + frame * S + at)
                grown += gained
    mean = total / weight
    target = out_ptr + tl.program_id(0).to(tl.int64) * D + d
    tl.store(target, mean.to(out_ptr.dtype.element_ty), mask=d < D)
    tl.store(grown_ptr + tl.program_id(0), grown)
