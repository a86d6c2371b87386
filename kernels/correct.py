"""Reused tokens from their roots: hidden state, query, key and value, each with its correction."""

import triton
import triton.language as tl
from torch import Tensor

from kernels.copy_rows import copy_rows
from kernels.launch import multiprocessors, runs_triton
from kernels.product import product


def correct(
    states: Tensor,
    difference: Tensor | None,
    root: Tensor,
    target: Tensor,
    down: Tensor,
    up: Tensor,
    *,
    count: Tensor | None = None,
    narrow: Tensor | None = None,
) -> None:
    """Write `states[root] + U ReLU(V difference)` to `states[target]`, as `restore` does.

    Without bottlenecks, C = 0, rows are carried over as they are.

    Args:
        states: `[R, 4D]`, h, q, k and v side by side.
        difference: `[M, D]`, packed; None if there are no bottlenecks.
        root: int32 `[M]`, rows to start from, none of them among the targets.
        target: int32 `[M]`, rows to write, none twice.
        down: `[4C, D]`, the four bottlenecks' weights to C values each.
        up: `[4, C, D]`, their weights back.
        count: int32 `[1]`, how many rows there are; None: all M.
        narrow: `[M, 4C]`, room for the bottlenecks' values; None allocates it.
    """
    parts, size, width = up.shape
    if parts != 4 or states.shape[1] != 4 * width or down.shape != (4 * size, width):
        raise ValueError(
            f"expected [4C, D], [4, C, D], [R, 4D], got {down.shape = }, {up.shape = }"
        )
    if difference is None or size == 0:
        return copy_rows(states, root, target, count=count)
    if not runs_triton(states):
        return correct_reference(states, difference, root, target, down, up, count)
    narrow = product(difference, down, activation="relu", out=narrow, count=count)
    rows = len(difference)
    if rows == 0:
        return None
    block_m, block_n = 64, 128
    tiles_n = 4 * triton.cdiv(width, block_n)
    shares = max(1, 2 * multiprocessors(states) // tiles_n)
    _correct_kernel[(tiles_n * shares,)](
        states_ptr=states,
        narrow_ptr=narrow,
        root_ptr=root,
        target_ptr=target,
        up_ptr=up,
        count_ptr=count,
        M=rows,
        shares=shares,
        D=width,
        C=size,
        BLOCK_M=block_m,
        BLOCK_N=block_n,
        num_warps=4,
    )
    return None


def correct_reference(
    states: Tensor,
    difference: Tensor,
    root: Tensor,
    target: Tensor,
    down: Tensor,
    up: Tensor,
    count: Tensor | None,
) -> None:
    """Define it in float32: `x = x_root + U_x ReLU(V_x d)` for x in h, q, k, v."""
    n = len(difference) if count is None else int(count)
    parts, size, width = up.shape
    narrow = (difference[:n].float() @ down.float().T).relu().view(n, parts, size)
    change = (narrow.transpose(0, 1) @ up.float()).transpose(0, 1).reshape(n, parts * width)
    values = states[root[:n].long()].float() + change
    states[target[:n].long()] = values.to(states.dtype)


@triton.jit
def _correct_kernel(
    states_ptr,  # [R, 4D]
    narrow_ptr,  # [M, 4C]
    root_ptr,  # [M]
    target_ptr,  # [M]
    up_ptr,  # [4, C, D]
    count_ptr,  # [1] or None
    M,
    shares,
    D: tl.constexpr,
    C: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    # a program keeps its columns of `up` and walks over its share of the rows
    num_rows = M
    if count_ptr is not None:
        num_rows = tl.load(count_ptr)
    tiles_part: tl.constexpr = (D + BLOCK_N - 1) // BLOCK_N
    part = tl.program_id(0) // tiles_part % 4
    n = tl.program_id(0) % tiles_part * BLOCK_N + tl.arange(0, BLOCK_N)
    c = part * C + tl.arange(0, C)
    there = part * D + n[None, :]
    up = tl.load(up_ptr + c[:, None] * D + n[None, :], mask=(n < D)[None, :], other=0.0)
    share = tl.program_id(0) // (4 * tiles_part)
    for first in tl.range(share * BLOCK_M, num_rows, shares * BLOCK_M, num_stages=3):
        m = first + tl.arange(0, BLOCK_M)
        inside = m < num_rows
        mask = inside[:, None] & (n < D)[None, :]
        root = tl.load(root_ptr + m, mask=inside, other=0).to(tl.int64)
        target = tl.load(target_ptr + m, mask=inside, other=0).to(tl.int64)
        start = tl.load(states_ptr + root[:, None] * (4 * D) + there, mask=mask, other=0.0)
        rows = narrow_ptr + m.to(tl.int64)[:, None] * (4 * C) + c[None, :]
        narrow = tl.load(rows, mask=inside[:, None], other=0.0)
        value = start.to(tl.float32) + tl.dot(narrow, up, input_precision="ieee")
        at = states_ptr + target[:, None] * (4 * D) + there
        tl.store(at, value.to(states_ptr.dtype.element_ty), mask=mask)
