"""LayerNorm of chosen rows, packed: the gather in front of a product."""

import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

from kernels.eight import fit_row, fit_rows
from kernels.launch import multiprocessors, runs_triton


def normalise(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    *,
    source: Tensor | None = None,
    out: Tensor | None = None,
    units: Tensor | None = None,
    target: Tensor | None = None,
    count: Tensor | None = None,
) -> Tensor:
    """Write LayerNorm of the first `count` rows `x[source]` to `out[target]`.

    Args:
        x: `[R, D]`, rows may be strided.
        weight: `[D]`.
        bias: `[D]`.
        eps: added to the variance.
        source: int32 `[M]`, the row of `x` of each row; None: the same row.
        out: `[S, D]`, rows may be strided; None allocates `[M, D]`.
        units: float32 `[S]` for an `out` in e4m3: each row is divided by what makes its largest
            value e4m3's, and that is written here; None: rows are stored as they are.
        target: int32 `[M]`, the row of `out` of each row, none twice; None: the same row.
        count: int32 `[1]`, how many rows there are; None: all M. Later rows are not written.

    Returns:
        `out`.
    """
    if x.ndim != 2 or weight.shape != x.shape[1:] or bias.shape != x.shape[1:]:
        raise ValueError(f"expected [R, D] and [D], got {x.shape = } and {weight.shape = }")
    num_rows, width = len(x) if source is None else len(source), x.shape[1]
    if out is None:
        out = x.new_empty(num_rows, width)
    if target is None:
        num_rows = min(num_rows, len(out))
    if not runs_triton(x):
        return normalise_reference(x, weight, bias, eps, source, out, units, target, count)
    if num_rows == 0:
        return out
    # a fixed grid: programs that find nothing to do would cost more than a short product's rows
    # a third reduction is quicker within one warp
    warps, each = (2, 16) if units is None else (1, 64)
    programs = min(num_rows, each * multiprocessors(x))
    _normalise_kernel[(programs,)](
        x_ptr=x,
        weight_ptr=weight,
        bias_ptr=bias,
        source_ptr=source,
        out_ptr=out,
        units_ptr=units,
        target_ptr=target,
        count_ptr=count,
        M=num_rows,
        programs=programs,
        x_stride=x.stride(0),
        out_stride=out.stride(0),
        eps=eps,
        D=width,
        BLOCK_D=triton.next_power_of_2(width),
        num_warps=warps,
    )
    return out


def normalise_reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    source: Tensor | None,
    out: Tensor,
    units: Tensor | None,
    target: Tensor | None,
    count: Tensor | None,
) -> Tensor:
    """Define it: `out[target] = LayerNorm(x[source])` in float32, over the row's unit."""
    n = len(x if source is None else source) if count is None else int(count)
    if target is None:
        n = min(n, len(out))
    chosen = x[:n] if source is None else x[source[:n].long()]
    y = F.layer_norm(chosen.float(), x.shape[1:], weight.float(), bias.float(), eps)
    at = slice(n) if target is None else target[:n].long()
    if units is not None:
        y, found = fit_rows(y)
        units[at] = found[:, 0]
    out[at] = y.to(out.dtype)
    return out


@triton.jit
def _normalise_kernel(
    x_ptr,  # [R, D]
    weight_ptr,  # [D]
    bias_ptr,  # [D]
    source_ptr,  # [M] or None
    out_ptr,  # [S, D]
    units_ptr,  # [S] or None
    target_ptr,  # [M] or None
    count_ptr,  # [1] or None
    M,
    programs,
    x_stride,
    out_stride,
    eps,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    num_rows = M
    if count_ptr is not None:
        num_rows = tl.load(count_ptr)
    for m in range(tl.program_id(0), num_rows, programs):
        d = tl.arange(0, BLOCK_D)
        source = m
        if source_ptr is not None:
            source = tl.load(source_ptr + m)
        row = x_ptr + tl.cast(source, tl.int64) * x_stride
        x = tl.load(row + d, mask=d < D, other=0.0).to(tl.float32)
        mean = tl.sum(x, 0) / D
        centred = tl.where(d < D, x - mean, 0.0)
        scale = tl.rsqrt(tl.sum(centred * centred, 0) / D + eps)
        weight = tl.load(weight_ptr + d, mask=d < D, other=0.0).to(tl.float32)
        bias = tl.load(bias_ptr + d, mask=d < D, other=0.0).to(tl.float32)
        y = centred * scale * weight + bias
        target = m
        if target_ptr is not None:
            target = tl.load(target_ptr + m)
        if units_ptr is not None:
            y = fit_row(y, units_ptr + target)
        row = out_ptr + tl.cast(target, tl.int64) * out_stride
        tl.store(row + d, y.to(out_ptr.dtype.element_ty), mask=d < D)
