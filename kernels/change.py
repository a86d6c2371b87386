"""How far each token is from what was kept of it, after what it gains and a norm."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

from kernels.launch import multiprocessors, runs_triton
from kernels.narrow import Norm


def measure_change(
    x: Tensor,
    kept: Tensor,
    there: Tensor,
    *,
    added: Tensor | None = None,
    norm: Norm | None = None,
    absolute: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """Measure the distance of every token of the frames that are there.

    Args:
        x: `[B N, D]`, of B frames; with `added` changed in place.
        kept: `[B N, D]`, what each token is compared with.
        there: uint8 `[B]`; nothing is read or written of the other frames.
        added: `[B N, D]`, added to x first.
        norm: a LayerNorm that is compared in place of x.
        absolute: sum of absolute differences; else Euclidean.
        out: float32 `[B, N]`; None allocates it.

    Returns:
        `out`.
    """
    if x.shape != kept.shape or x.ndim != 2 or len(x) % len(there):
        raise ValueError(f"expected twice [B N, D], got {x.shape = }, {kept.shape = }")
    if out is None:
        out = torch.zeros(len(there), len(x) // len(there), device=x.device)
    if not runs_triton(x):
        return measure_change_reference(x, kept, there, added, norm, absolute, out)
    rows, width = x.shape
    programs = min(rows, 16 * multiprocessors(x))
    _measure_change_kernel[(programs,)](
        x_ptr=x,
        kept_ptr=kept,
        there_ptr=there,
        added_ptr=added,
        weight_ptr=None if norm is None else norm.weight,
        bias_ptr=None if norm is None else norm.bias,
        out_ptr=out,
        M=rows,
        N=rows // len(there),
        programs=programs,
        eps=0.0 if norm is None else norm.eps,
        x_stride=x.stride(0),
        kept_stride=kept.stride(0),
        added_stride=0 if added is None else added.stride(0),
        D=width,
        ABSOLUTE=absolute,
        BLOCK_D=triton.next_power_of_2(width),
        num_warps=2,
    )
    return out


def measure_change_reference(
    x: Tensor,
    kept: Tensor,
    there: Tensor,
    added: Tensor | None,
    norm: Norm | None,
    absolute: bool,
    out: Tensor,
) -> Tensor:
    """Define it; values are rounded to x's type where they would be stored."""
    rows = there.bool().repeat_interleave(len(x) // len(there))
    if added is not None:
        x[rows] = x[rows] + added[rows]
    values = x[rows].float()
    if norm is not None:
        weight, bias = norm.weight.float(), norm.bias.float()
        values = F.layer_norm(values, x.shape[1:], weight, bias, norm.eps).to(x.dtype).float()
    away = values - kept[rows].float()
    order = 1 if absolute else 2
    out.view(-1)[rows] = torch.linalg.vector_norm(away, ord=order, dim=-1)
    return out


@triton.jit
def _measure_change_kernel(
    x_ptr,  # [B N, D]
    kept_ptr,  # [B N, D]
    there_ptr,  # [B]
    added_ptr,  # [B N, D] or None
    weight_ptr,  # [D] or None
    bias_ptr,  # [D] or None
    out_ptr,  # [B, N]
    M,
    N,
    programs,
    eps,
    x_stride,
    kept_stride,
    added_stride,
    D: tl.constexpr,
    ABSOLUTE: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    d = tl.arange(0, BLOCK_D)
    for m in range(tl.program_id(0), M, programs):
        if tl.load(there_ptr + m // N) > 0:
            row = tl.cast(m, tl.int64)
            x = tl.load(x_ptr + row * x_stride + d, mask=d < D, other=0.0)
            old = tl.load(kept_ptr + row * kept_stride + d, mask=d < D, other=0.0).to(tl.float32)
            if added_ptr is not None:
                more = tl.load(added_ptr + row * added_stride + d, mask=d < D, other=0.0)
                x = (x.to(tl.float32) + more.to(tl.float32)).to(x_ptr.dtype.element_ty)
                tl.store(x_ptr + row * x_stride + d, x, mask=d < D)
            y = x.to(tl.float32)
            if weight_ptr is not None:
                mean = tl.sum(y, 0) / D
                centred = tl.where(d < D, y - mean, 0.0)
                scale = tl.rsqrt(tl.sum(centred * centred, 0) / D + eps)
                weight = tl.load(weight_ptr + d, mask=d < D, other=0.0).to(tl.float32)
                bias = tl.load(bias_ptr + d, mask=d < D, other=0.0).to(tl.float32)
                y = centred * scale * weight + bias
                y = y.to(x_ptr.dtype.element_ty).to(tl.float32)
            away = y - old
            far = tl.sum(tl.abs(away), 0) if ABSOLUTE else tl.sqrt(tl.sum(away * away, 0))
            tl.store(out_ptr + m, far)
