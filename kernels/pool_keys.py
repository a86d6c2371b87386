"""The distinct keys of a stream's frames: most tokens of a group share one table row."""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.launch import runs_triton


@dataclass(frozen=True, slots=True)
class KeyPool:
    """For each stream the table rows that its frames name, and which frames name each."""

    rows: Tensor  # int32 [B, S N], position by position of slot 0, then what only others name
    masks: Tensor  # int32 [B, S N], bit s: the frame in slot s names it
    num: Tensor  # int32 [B]


def pool_keys(page: Tensor, row_of: Tensor, pool: KeyPool) -> None:
    """List each table row of a stream once per position.

    Args:
        page: int32 `[S, B, N]`, the table row that stands for each token; S is at most 4.
        row_of: int32 `[S, B, N]`; a frame whose position 0 is negative is not there.
        pool: filled, in an order that depends on the stream's own page alone.
    """
    slots, streams, tokens = page.shape
    if row_of.shape != page.shape or pool.rows.shape != (streams, slots * tokens) or slots > 4:
        raise ValueError(f"expected [S, B, N], S <= 4, got {page.shape = }, {row_of.shape = }")
    if not runs_triton(page):
        return pool_keys_reference(page, row_of, pool)
    _pool_keys_kernel[(streams,)](
        page_ptr=page,
        row_of_ptr=row_of,
        rows_ptr=pool.rows,
        masks_ptr=pool.masks,
        num_ptr=pool.num,
        streams=streams,
        N=tokens,
        SLOTS=slots,
        BLOCK=triton.next_power_of_2(tokens),
        num_warps=4,
    )
    return None


def pool_keys_reference(page: Tensor, row_of: Tensor, pool: KeyPool) -> None:
    """Walk over slots and positions, adding a row or a bit to one that is already there."""
    slots, streams, _ = page.shape
    for stream in range(streams):
        named: dict[tuple[int, int], int] = {}
        for slot in range(slots):
            if row_of[slot, stream, 0] >= 0:
                for at, row in enumerate(page[slot, stream].tolist()):
                    named[at, row] = named.get((at, row), 0) | 1 << slot
        rows = torch.tensor([row for _, row in named], dtype=torch.int32)
        pool.rows[stream, : len(rows)] = rows
        pool.masks[stream, : len(rows)] = torch.tensor(list(named.values()), dtype=torch.int32)
        pool.num[stream] = len(rows)


@triton.jit
def _pool_keys_kernel(
    page_ptr,  # [S, B, N]
    row_of_ptr,  # [S, B, N]
    rows_ptr,  # [B, S N]
    masks_ptr,  # [B, S N]
    num_ptr,  # [B]
    streams,
    N: tl.constexpr,
    SLOTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    # one program per stream
    stream = tl.program_id(0)
    n = tl.arange(0, BLOCK)
    inside = n < N
    rows_ptr += stream * SLOTS * N
    masks_ptr += stream * SLOTS * N
    num = 0
    for slot in tl.static_range(SLOTS):
        frame = slot * streams + stream
        own = tl.load(page_ptr + frame * N + n, mask=inside, other=0)
        here = tl.load(row_of_ptr + frame * N) >= 0
        new = tl.where(here, inside.to(tl.int32), 0)
        for other in tl.static_range(SLOTS):
            if other < slot:
                there = tl.load(row_of_ptr + (other * streams + stream) * N) >= 0
                earlier = tl.load(
                    page_ptr + (other * streams + stream) * N + n, mask=inside, other=0
                )
                new = tl.where((earlier == own) & there, 0, new)
        mask = tl.full((BLOCK,), 1 << slot, dtype=tl.int32)
        for other in tl.static_range(SLOTS):
            if other > slot:
                frame = other * streams + stream
                there = tl.load(row_of_ptr + frame * N) >= 0
                later = tl.load(page_ptr + frame * N + n, mask=inside, other=0)
                mask += tl.where((later == own) & there, 1 << other, 0)
        at = num + tl.cumsum(new, 0) - new
        tl.store(rows_ptr + at, own, mask=new > 0)
        tl.store(masks_ptr + at, mask, mask=new > 0)
        num += tl.sum(new)
    tl.store(num_ptr + stream, num)
