"""Rows of a table copied to other rows of it, as many as a count on the device says."""

import triton
import triton.language as tl
from torch import Tensor

from kernels.launch import multiprocessors, runs_triton

ROWS = 4  # that a program copies at once


def carry(table: Tensor, source: Tensor, target: Tensor, *, count: Tensor | None = None) -> None:
    """Write `table[source]` to `table[target]`.

    Args:
        table: `[R, C]`, contiguous.
        source: int32 `[M]`, none of them among the targets.
        target: int32 `[M]`, none twice.
        count: int32 `[1]`, how many rows there are; None: all M.
    """
    if table.ndim != 2 or source.shape != target.shape:
        raise ValueError(f"expected [R, C], [M] and [M], got {source.shape = }, {target.shape = }")
    if not runs_triton(table):
        return carry_reference(table, source, target, count)
    rows, width = len(source), table.shape[1]
    if rows == 0:
        return None
    programs = min(triton.cdiv(rows, ROWS), 8 * multiprocessors(table))
    _carry_kernel[(programs,)](
        table,
        source,
        target,
        count,
        rows,
        programs,
        C=width,
        ROWS=ROWS,
        BLOCK=min(1024, triton.next_power_of_2(width)),
        num_warps=4,
    )
    return None


def carry_reference(table: Tensor, source: Tensor, target: Tensor, count: Tensor | None) -> None:
    """Define it."""
    n = len(source) if count is None else int(count)
    table[target[:n].long()] = table[source[:n].long()]


@triton.jit
def _carry_kernel(
    table_ptr,  # [R, C]
    source_ptr,  # [M]
    target_ptr,  # [M]
    count_ptr,  # [1] or None
    M,
    programs,
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
        source = tl.load(source_ptr + m, mask=inside, other=0).to(tl.int64)[:, None] * C
        target = tl.load(target_ptr + m, mask=inside, other=0).to(tl.int64)[:, None] * C
        for start in tl.static_range(0, C, BLOCK):
            c = start + tl.arange(0, BLOCK)
            mask = inside[:, None] & (c < C)[None, :]
            row = tl.load(table_ptr + source + c[None, :], mask=mask)
            tl.store(table_ptr + target + c[None, :], row, mask=mask)
