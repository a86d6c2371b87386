"""LayerNorm of chosen rows, packed: the gather in front of a product."""

import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

from kernels.launch import runs_triton


def normalise(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    *,
    source: Tensor | None = None,
    count: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Write LayerNorm of `x[source]` into the first `count` rows of `out`.

    Args:
        x: `[R, D]`, rows may be strided.
        weight: `[D]`.
        bias: `[D]`.
        eps: added to the variance.
        source: int32 `[M]`, the row of `x` for each row of `out`; None: the same row.
        count: int32 `[1]`, how many rows there are; None: all. Later rows are not written.
        out: `[M, D]`; None allocates it.

    Returns:
        `out`.
    """
    if x.ndim != 2 or weight.shape != x.shape[1:] or bias.shape != x.shape[1:]:
        raise ValueError(f"expected [R, D] and [D], got {x.shape = } and {weight.shape = }")
    if out is None:
        out = x.new_empty(len(x) if source is None else len(source), x.shape[1])
    if not runs_triton(x):
        return normalise_reference(x, weight, bias, eps, source, count, out)
    if len(out) == 0:
        return out
    width = x.shape[1]
    _normalise_kernel[(triton.cdiv(len(out), 4),)](
        x,
        weight,
        bias,
        source,
        count,
        out,
        len(out),
        x.stride(0),
        eps,
        D=width,
        BLOCK_D=triton.next_power_of_2(width),
        ROWS=4,
        num_warps=4,
    )
    return out


def normalise_reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    source: Tensor | None,
    count: Tensor | None,
    out: Tensor,
) -> Tensor:
    """Define it: `out[i] = LayerNorm(x[source[i]])` in float32."""
    n = len(out) if count is None else int(count)
    chosen = (x[:n] if source is None else x[source[:n].long()]).float()
    out[:n] = F.layer_norm(chosen, x.shape[1:], weight.float(), bias.float(), eps).to(out.dtype)
    return out


@triton.jit
def _normalise_kernel(
    x_ptr,  # [R, D]
    weight_ptr,  # [D]
    bias_ptr,  # [D]
    source_ptr,  # [M] or None
    count_ptr,  # [1] or None
    out_ptr,  # [M, D]
    M,
    x_stride,
    eps,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    ROWS: tl.constexpr,
):
    num_rows = M
    if count_ptr is not None:
        num_rows = tl.load(count_ptr)
    first = tl.program_id(0) * ROWS
    if first < num_rows:
        m = first + tl.arange(0, ROWS)
        d = tl.arange(0, BLOCK_D)
        inside = m < num_rows
        source = m
        if source_ptr is not None:
            source = tl.load(source_ptr + m, mask=inside, other=0)
        mask = inside[:, None] & (d < D)[None, :]
        offset = source.to(tl.int64)[:, None] * x_stride + d[None, :]
        x = tl.load(x_ptr + offset, mask=mask, other=0.0).to(tl.float32)
        mean = tl.sum(x, 1) / D
        centred = tl.where((d < D)[None, :], x - mean[:, None], 0.0)
        scale = tl.rsqrt(tl.sum(centred * centred, 1) / D + eps)
        weight = tl.load(weight_ptr + d, mask=d < D, other=0.0).to(tl.float32)
        bias = tl.load(bias_ptr + d, mask=d < D, other=0.0).to(tl.float32)
        y = centred * scale[:, None] * weight[None, :] + bias[None, :]
        offset = m.to(tl.int64)[:, None] * D + d[None, :]
        tl.store(out_ptr + offset, y.to(out_ptr.dtype.element_ty), mask=mask)
