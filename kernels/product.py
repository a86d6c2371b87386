"""A matrix product over packed rows whose number only the device knows."""

import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F
from triton.tools.tensor_descriptor import TensorDescriptor

from kernels.activation import activate
from kernels.launch import multiprocessors, runs_triton


def product(
    rows: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    scale: Tensor | None = None,
    units: Tensor | None = None,
    activation: str | None = None,
    factor: float | None = None,
    residual: Tensor | None = None,
    source: Tensor | None = None,
    out: Tensor | None = None,
    target: Tensor | None = None,
    count: Tensor | None = None,
) -> Tensor:
    """Write `activation(rows @ weight.T + bias) + residual` for the first `count` rows.

    Args:
        rows: `[M, K]`, contiguous.
        weight: `[N, K]`, as `nn.Linear` stores it, of the rows' type.
        bias: `[N]`.
        scale: float32 `[N]`, what 1 in each row of `weight`, in e4m3, is worth; None: 1.
        units: float32 `[M]`, what 1 in each of the rows, in e4m3, is worth; None: 1.
        activation: relu or one of `kernels.activation`; None keeps the product.
        factor: multiplies the activation, so that it fits an `out` in e4m3; None: 1.
        residual: `[R, N]`, rows may be strided, added after the activation; may share rows with
            `out` if each row is read and written for the same i.
        source: int32 `[M]`, the row of `residual` for each row; None: the same row.
        out: `[S, N]`, rows may be strided; None allocates `[M, N]`.
        target: int32 `[M]`, the row of `out` for each row, none twice; None: the same row.
        count: int32 `[1]`, how many rows there are; None: all M. Later rows are not written.

    Returns:
        `out`.
    """
    if rows.ndim != 2 or weight.ndim != 2 or rows.shape[1] != weight.shape[1]:
        raise ValueError(f"expected [M, K] and [N, K], got {rows.shape = } and {weight.shape = }")
    if out is None:
        out = rows.new_empty(rows.shape[0], weight.shape[0])
    if not runs_triton(rows):
        return product_reference(
            rows,
            weight,
            bias,
            scale,
            units,
            activation,
            factor,
            residual,
            source,
            out,
            target,
            count,
        )
    num_rows, inner = rows.shape
    columns = weight.shape[0]
    if num_rows == 0:
        return out
    block_m, block_n, block_k, alone = _tile(rows, columns)
    tiles = triton.cdiv(num_rows, block_m) * triton.cdiv(columns, block_n)
    programs = min(tiles, multiprocessors(rows) * (1 if alone else 2))
    _product_kernel[(programs,)](
        rows_desc=TensorDescriptor.from_tensor(rows, [block_m, block_k]),
        weight_desc=TensorDescriptor.from_tensor(weight, [block_n, block_k]),
        bias_ptr=bias,
        scale_ptr=scale,
        units_ptr=units,
        residual_ptr=residual,
        source_ptr=source,
        out_ptr=out,
        target_ptr=target,
        count_ptr=count,
        M=num_rows,
        programs=programs,
        out_stride=out.stride(0),
        residual_stride=residual.stride(0) if residual is not None else 0,
        units_stride=units.stride(0) if units is not None else 0,
        factor=factor,
        N=columns,
        K=inner,
        ACTIVATION=activation,
        BLOCK_M=block_m,
        BLOCK_N=block_n,
        BLOCK_K=block_k,
        HALVES=block_n // 128,
        num_warps=8 if alone else 4,
        num_stages=3,
    )
    return out


def _tile(rows: Tensor, columns: int) -> tuple[int, int, int, bool]:
    """Rows, columns and depth of a tile, and whether it has a multiprocessor to itself."""
    # long sums repay large tiles, short ones two tiles side by side: one finishes as one multiplies
    size, long = rows.element_size(), rows.shape[1] >= 2048
    if size == 4:
        return 64, 128, 32, False
    if not long or columns % 256:
        return 128, 128, 128 // size, False
    return (256, 128, 128, True) if size == 1 else (128, 256, 64, True)


def product_reference(
    rows: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    scale: Tensor | None,
    units: Tensor | None,
    activation: str | None,
    factor: float | None,
    residual: Tensor | None,
    source: Tensor | None,
    out: Tensor,
    target: Tensor | None,
    count: Tensor | None,
) -> Tensor:
    """Define it: `out[target] = factor activation(units rows W^T scale + b) + residual[source]`."""
    n = len(rows) if count is None else int(count)
    values = F.linear(rows[:n].float(), weight.float())
    if scale is not None:
        values = values * scale
    if units is not None:
        values = values * units[:n, None]
    if bias is not None:
        values = values + bias.float()
    if activation == "relu":
        values = values.relu()
    elif activation is not None:
        values = activate(values, activation)
    if factor is not None:
        values = values * factor
    if residual is not None:
        values = values + (residual[:n] if source is None else residual[source[:n].long()]).float()
    out[slice(n) if target is None else target[:n].long()] = values.to(out.dtype)
    return out


@triton.jit
def _activate(x, NAME: tl.constexpr):
    if NAME == "quick_gelu":
        return x / (1.0 + tl.exp2(x * -2.455466931))  # 1.702 log2(e)
    elif NAME == "gelu":
        return 0.5 * x * (1.0 + tl.erf(x * 0.7071067812))
    elif NAME == "gelu_tanh":
        inner = 0.7978845608 * (x + 0.044715 * x * x * x)
        return x / (1.0 + tl.exp2(inner * -2.885390082))  # tanh(y) = 2 sigmoid(2 y) - 1
    else:
        return tl.maximum(x, 0.0)


@triton.jit
def _product_kernel(
    rows_desc,  # [M, K]
    weight_desc,  # [N, K]
    bias_ptr,  # [N] or None
    scale_ptr,  # [N] or None
    units_ptr,  # [M] or None
    residual_ptr,  # [R, N] or None
    source_ptr,  # [M] or None
    out_ptr,  # [S, N]
    target_ptr,  # [M] or None
    count_ptr,  # [1] or None
    M,
    programs,
    out_stride,
    residual_stride,
    units_stride,
    factor,
    N: tl.constexpr,
    K: tl.constexpr,
    ACTIVATION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    HALVES: tl.constexpr,
):
    # a fixed grid walks over as many tiles as the count on the device asks for
    num_rows = M
    if count_ptr is not None:
        num_rows = tl.load(count_ptr)
    tiles_n: tl.constexpr = (N + BLOCK_N - 1) // BLOCK_N
    num_tiles = tl.cdiv(num_rows, BLOCK_M) * tiles_n
    for tile in tl.range(tl.program_id(0), num_tiles, programs, flatten=True):
        row = tile // tiles_n * BLOCK_M
        column = tile % tiles_n * BLOCK_N
        acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
        for k in range(0, K, BLOCK_K):
            a = rows_desc.load([row, k])
            b = weight_desc.load([column, k])
            acc = tl.dot(a, b.T, acc, input_precision="ieee")
        m = row + tl.arange(0, BLOCK_M)
        inside = m < num_rows
        if units_ptr is not None:
            acc *= tl.load(units_ptr + m * units_stride, mask=inside, other=0.0)[:, None]
        source = m
        if source_ptr is not None:
            source = tl.load(source_ptr + m, mask=inside, other=0)
        target = m
        if target_ptr is not None:
            target = tl.load(target_ptr + m, mask=inside, other=0)
        residual_rows = residual_ptr
        if residual_ptr is not None:
            residual_rows = residual_ptr + source.to(tl.int64)[:, None] * residual_stride
        out_rows = out_ptr + target.to(tl.int64)[:, None] * out_stride
        # in halves, so that the conversion to a storable layout fits beside the operands
        part: tl.constexpr = BLOCK_N // HALVES
        n = column + tl.arange(0, part)
        if HALVES == 2:
            acc, other = tl.split(tl.permute(tl.reshape(acc, (BLOCK_M, 2, part)), (0, 2, 1)))
            _finish_tile(
                y=other,
                inside=inside,
                n=n + part,
                bias_ptr=bias_ptr,
                scale_ptr=scale_ptr,
                residual_rows=residual_rows,
                out_rows=out_rows,
                factor=factor,
                N=N,
                ACTIVATION=ACTIVATION,
            )
        _finish_tile(
            y=acc,
            inside=inside,
            n=n,
            bias_ptr=bias_ptr,
            scale_ptr=scale_ptr,
            residual_rows=residual_rows,
            out_rows=out_rows,
            factor=factor,
            N=N,
            ACTIVATION=ACTIVATION,
        )


@triton.jit
def _finish_tile(
    y,  # float32 [BLOCK_M, part]
    inside,  # [BLOCK_M]
    n,  # [part]
    bias_ptr,
    scale_ptr,
    residual_rows,  # [BLOCK_M, 1] pointers or None
    out_rows,  # [BLOCK_M, 1] pointers
    factor,
    N: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    mask = inside[:, None] & (n < N)[None, :]
    if scale_ptr is not None:
        y *= tl.load(scale_ptr + n, mask=n < N, other=0.0)[None, :]
    if bias_ptr is not None:
        y += tl.load(bias_ptr + n, mask=n < N, other=0.0).to(tl.float32)[None, :]
    if ACTIVATION is not None:
        y = _activate(y, ACTIVATION)
    if factor is not None:
        y *= factor
    if residual_rows is not None:
        y += tl.load(residual_rows + n[None, :], mask=mask, other=0.0).to(tl.float32)
    tl.store(out_rows + n[None, :], y.to(out_rows.dtype.element_ty), mask=mask)
