"""Rows of one table copied to rows of another, or of itself, as many as a count says."""

import triton
import triton.language as tl
from torch import Tensor

from kernels.launch import multiprocessors, runs_triton

ROWS = 4  # that a program copies at once


def copy_rows(
    table: Tensor,
    source: Tensor | None,
    target: Tensor | None,
    *,
    out: Tensor | None = None,
    count: Tensor | None = None,
) -> None:
    """Write `table[source]` to `out[target]`.

    Args:
        table: `[R, C]`; rows may be strided.
        source: int32 or int64 `[M]`; None: the first M rows.
        target: likewise, none twice.
        out: `[S, C]`; None: the same table, and no source is a target.
        count: int32 `[1]`, how many rows there are; None: all M.
    """
    out = table if out is None else out
    listed = [each for each in (source, target) if each is not None]
    if not listed or listed[0].shape != listed[-1].shape or table.shape[1:] != out.shape[1:]:
        given = [tuple(each.shape) for each in (table, out, *listed)]
        raise ValueError(f"expected [R, C], [S, C] and one or two of [M], got {given}")
    if not runs_triton(table):
        return copy_rows_reference(table, source, target, out=out, count=count)
    rows, width = len(listed[0]), table.shape[1]
    if rows == 0:
        return None
    programs = min(triton.cdiv(rows, ROWS), 8 * multiprocessors(table))
    _copy_rows_kernel[(programs,)](
        table_ptr=table,
        out_ptr=out,
        source_ptr=source,
        target_ptr=target,
        count_ptr=count,
        M=rows,
        programs=programs,
        table_stride=table.stride(0),
        out_stride=out.stride(0),
        C=width,
        ROWS=ROWS,
        BLOCK=min(1024, triton.next_power_of_2(width)),
        num_warps=4,
    )
    return None


def copy_rows_reference(
    table: Tensor,
    source: Tensor | None,
    target: Tensor | None,
    *,
    out: Tensor | None = None,
    count: Tensor | None = None,
) -> None:
    """Define it."""
    out = table if out is None else out
    rows = len(source if source is not None else target)  # type: ignore[arg-type]
    n = rows if count is None else int(count)
    taken = table[:n] if source is None else table[source[:n].long()]
    if target is None:
        out[:n] = taken
    else:
        out[target[:n].long()] = taken


@triton.jit
def _copy_rows_kernel(
    table_ptr,  # [R, C]
    out_ptr,  # [S, C]
    source_ptr,  # [M] or None
    target_ptr,  # [M] or None
    count_ptr,  # [1] or None
    M,
    programs,
    table_stride,
    out_stride,
    C: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    num_rows = M
    if count_ptr is not None:
        num_rows = tl.load(count_ptr)
    for first in range(tl.program_id(0) * ROWS, num_rows, programs * ROWS):
        m = first + tl.arange(0, ROWS)
        inside = m < num_rows
        source, target = m, m
        if source_ptr is not None:
            source = tl.load(source_ptr + m, mask=inside, other=0)
        if target_ptr is not None:
            target = tl.load(target_ptr + m, mask=inside, other=0)
        taken = table_ptr + source.to(tl.int64)[:, None] * table_stride
        given = out_ptr + target.to(tl.int64)[:, None] * out_stride
        for start in tl.static_range(0, C, BLOCK):
            c = start + tl.arange(0, BLOCK)
            mask = inside[:, None] & (c < C)[None, :]
            tl.store(given + c[None, :], tl.load(taken + c[None, :], mask=mask), mask=mask)
