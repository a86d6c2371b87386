"""Attention of the tokens still computed over all keys and values, found through a page."""

import triton
import triton.language as tl
from torch import Tensor

from kernels.launch import runs_triton
from kernels.narrow import PackedRows
from kernels.pool_keys import KeyPool


def gated_attention(
    table: Tensor,
    page: Tensor,
    packed: PackedRows,
    pool: KeyPool,
    heads: int,
    out: Tensor,
    *,
    class_only: bool = False,
) -> None:
    """Attend from each frame's packed queries to the N keys and values that its page names.

    Args:
        table: `[T, 3D]` queries, keys and values side by side, each the heads' side by side.
        page: int32 `[S, B, N]`, the table row that stands for each token; S is a power of two.
        packed: which packed rows are each frame's, and where their queries lie in the table.
        pool: the page's distinct rows; few queries of all frames go over these together. Where it
            is empty no frame is there, and on a GPU nothing is written.
        heads: H; D / H is a power of two of at least 16.
        out: `[P, D]`, written at the packed rows of all frames' queries.
        class_only: attend from the first query of each frame only, its class token's.
    """
    width = out.shape[1]
    if table.ndim != 2 or table.shape[1] != 3 * width or width % heads or page.shape[2] < 2:
        raise ValueError(f"expected [T, 3D] and [P, D], got {table.shape = }, {out.shape = }")
    if not runs_triton(table):
        return gated_attention_reference(table, page, packed, heads, out, class_only=class_only)
    slots, streams, num_tokens = page.shape
    _gated_attention_kernel[(slots * streams * heads,)](
        table_ptr=table,
        page_ptr=page,
        queries_ptr=packed.queries,
        num_queries_ptr=packed.num_queries,
        target_ptr=packed.target,
        rows_ptr=pool.rows,
        masks_ptr=pool.masks,
        num_keys_ptr=pool.num,
        out_ptr=out,
        scale=(width // heads) ** -0.5 * 1.4426950408889634,  # exp2 in place of exp
        streams=streams,
        N=num_tokens,
        D=width,
        H=heads,
        DH=width // heads,
        SLOTS=slots,
        CLASS_ONLY=class_only,
        BLOCK_M=16 if class_only else 64,
        BLOCK_N=128,
        num_warps=4,
        num_stages=2,
    )
    return None


def gated_attention_reference(
    table: Tensor,
    page: Tensor,
    packed: PackedRows,
    heads: int,
    out: Tensor,
    *,
    class_only: bool = False,
) -> None:
    """`softmax(q K[page]^T / sqrt(dh)) V[page]` per frame and head, in float32."""
    for frame, named in enumerate(page.flatten(0, 1)):
        count = 1 if class_only else int(packed.num_queries[frame])
        rows = packed.queries[frame, :count].long()
        _, k, v = table[named.long()].float().view(len(named), 3, heads, -1).permute(1, 2, 0, 3)
        own = table[packed.target[rows].long(), : out.shape[1]].float()
        q = own.view(count, heads, -1).transpose(0, 1)  # [H, n, dh]
        share = ((q @ k.transpose(1, 2)) * q.shape[-1] ** -0.5).softmax(-1)
        out[rows] = (share @ v).transpose(0, 1).reshape(count, -1).to(out.dtype)


@triton.jit
def _load_queries(at, inside, target_ptr, base_ptr, D: tl.constexpr, DH: tl.constexpr):
    packed = tl.load(at, mask=inside, other=0)
    row = tl.load(target_ptr + packed, mask=inside, other=0).to(tl.int64)
    d = tl.arange(0, DH)
    q = tl.load(base_ptr + row[:, None] * (3 * D) + d[None, :], mask=inside[:, None], other=0.0)
    return packed, q


@triton.jit
def _attend(
    q,  # [BLOCK_M, DH]
    slot,  # [BLOCK_M]
    largest,
    total,
    mixed,
    base_ptr,
    rows_ptr,
    masks_ptr,
    start,
    num,
    scale,
    D: tl.constexpr,
    DH: tl.constexpr,
    MASKED: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    # a running softmax over the keys from `start` on
    d = tl.arange(0, DH)
    for first in range(start, num, BLOCK_N):
        n = first + tl.arange(0, BLOCK_N)
        inside = n < num
        row = tl.load(rows_ptr + n, mask=inside, other=0).to(tl.int64)
        at = row[:, None] * (3 * D) + d[None, :]
        k = tl.load(base_ptr + at + D, mask=inside[:, None], other=0.0)
        v = tl.load(base_ptr + at + 2 * D, mask=inside[:, None], other=0.0)
        scores = tl.dot(q, k.T, input_precision="ieee") * scale
        if MASKED:
            # a large number in place of infinity: a block may hold no key of a frame
            mask = tl.load(masks_ptr + n, mask=inside, other=0)
            scores = tl.where(((mask[None, :] >> slot[:, None]) & 1) > 0, scores, -1.0e30)
        else:
            scores = tl.where(inside[None, :], scores, -1.0e30)
        new_largest = tl.maximum(largest, tl.max(scores, 1))
        share = tl.exp2(scores - new_largest[:, None])
        shrink = tl.exp2(largest - new_largest)
        total = total * shrink + tl.sum(share, 1)
        mixed = mixed * shrink[:, None]
        mixed = tl.dot(share.to(v.dtype), v, mixed, input_precision="ieee")
        largest = new_largest
    return mixed / total[:, None]


@triton.jit
def _gated_attention_kernel(
    table_ptr,  # [T, 3D]
    page_ptr,  # [S B, N]
    queries_ptr,  # [S B, N]
    num_queries_ptr,  # [S B]
    target_ptr,  # [P]
    rows_ptr,  # [B, S N]
    masks_ptr,  # [B, S N]
    num_keys_ptr,  # [B]
    out_ptr,  # [P, D]
    scale,
    streams,
    N: tl.constexpr,
    D: tl.constexpr,
    H: tl.constexpr,
    DH: tl.constexpr,
    SLOTS: tl.constexpr,
    CLASS_ONLY: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    # SLOTS programs per stream and head, each for a frame's queries over that frame's keys, or,
    # where that is less work, for every SLOTS-th block of all frames' queries over the pool
    head = tl.program_id(0) % H
    stream = tl.program_id(0) // H % streams
    part = tl.program_id(0) // H // streams
    d = tl.arange(0, DH)
    s = tl.arange(0, SLOTS)
    counts = s * 0 + 1
    if not CLASS_ONLY:
        counts = tl.load(num_queries_ptr + s * streams + stream)
    ends = tl.cumsum(counts, 0)
    everything = tl.sum(counts)
    num_keys = tl.load(num_keys_ptr + stream)
    if num_keys == 0:
        return
    apart = tl.sum((counts + BLOCK_M - 1) // BLOCK_M) * N
    pooled = tl.cdiv(everything, BLOCK_M) * num_keys <= apart
    base_ptr = table_ptr + head * DH
    if pooled:
        rows_ptr += stream * SLOTS * N
        masks_ptr += stream * SLOTS * N
        for start in range(part * BLOCK_M, everything, SLOTS * BLOCK_M):
            m = start + tl.arange(0, BLOCK_M)
            slot = tl.sum((m[:, None] >= ends[None, :]).to(tl.int32), 1)
            slot = tl.minimum(slot, SLOTS - 1)
            before = tl.sum(tl.where(s[None, :] < slot[:, None], counts[None, :], 0), 1)
            inside = m < everything
            at = queries_ptr + (slot * streams + stream) * N + m - before
            packed, q = _load_queries(at, inside, target_ptr, base_ptr, D, DH)
            y = _attend(
                q=q,
                slot=slot,
                largest=tl.full((BLOCK_M,), -1.0e30, dtype=tl.float32),
                total=tl.zeros((BLOCK_M,), dtype=tl.float32),
                mixed=tl.zeros((BLOCK_M, DH), dtype=tl.float32),
                base_ptr=base_ptr,
                rows_ptr=rows_ptr,
                masks_ptr=masks_ptr,
                start=0,
                num=num_keys,
                scale=scale,
                D=D,
                DH=DH,
                MASKED=True,
                BLOCK_N=BLOCK_N,
            )
            at = packed.to(tl.int64)[:, None] * D + head * DH + d[None, :]
            tl.store(out_ptr + at, y.to(out_ptr.dtype.element_ty), mask=inside[:, None])
    else:
        # the class token's key opens the softmax, so that the patches fill whole blocks
        frame = part * streams + stream
        page_ptr += frame * N
        class_row = tl.load(page_ptr).to(tl.int64) * (3 * D)
        class_k = tl.load(base_ptr + class_row + D + d).to(tl.float32)
        class_v = tl.load(base_ptr + class_row + 2 * D + d).to(tl.float32)
        count = tl.sum(tl.where(s == part, counts, 0))
        for start in range(0, count, BLOCK_M):
            m = start + tl.arange(0, BLOCK_M)
            inside = m < count
            packed, q = _load_queries(
                queries_ptr + frame * N + m, inside, target_ptr, base_ptr, D, DH
            )
            y = _attend(
                q=q,
                slot=m,
                largest=tl.sum(q.to(tl.float32) * class_k[None, :], 1) * scale,
                total=tl.full((BLOCK_M,), 1.0, dtype=tl.float32),
                mixed=tl.zeros((BLOCK_M, DH), dtype=tl.float32) + class_v[None, :],
                base_ptr=base_ptr,
                rows_ptr=page_ptr,
                masks_ptr=masks_ptr,
                start=1,
                num=N,
                scale=scale,
                D=D,
                DH=DH,
                MASKED=False,
                BLOCK_N=BLOCK_N,
            )
            at = packed.to(tl.int64)[:, None] * D + head * DH + d[None, :]
            tl.store(out_ptr + at, y.to(out_ptr.dtype.element_ty), mask=inside[:, None])
