"""Attention of the tokens still computed over all keys and values, found through a page."""

import triton
import triton.language as tl
from torch import Tensor

from kernels.launch import runs_triton
from kernels.narrow import Packed


def gated_attention(
    table: Tensor,
    page: Tensor,
    packed: Packed,
    heads: int,
    out: Tensor,
    *,
    class_only: bool = False,
) -> None:
    """Attend from each frame's packed queries to the N keys and values that its page names.

    Args:
        table: `[T, 3D]` queries, keys and values side by side, each the heads' side by side.
        page: int32 `[F, N]`, the table row that stands for each token.
        packed: which packed rows are each frame's, and where their queries lie in the table.
        heads: H; D / H is a power of two of at least 16.
        out: `[P, D]`, written at the packed rows of all frames' queries.
        class_only: attend from the first query of each frame only, its class token's.
    """
    width = out.shape[1]
    if table.ndim != 2 or table.shape[1] != 3 * width or width % heads or page.shape[1] < 2:
        raise ValueError(f"expected [T, 3D] and [P, D], got {table.shape = }, {out.shape = }")
    if not runs_triton(table):
        return gated_attention_reference(table, page, packed, heads, out, class_only=class_only)
    frames, num_tokens = page.shape
    _gated_attention_kernel[(frames * heads,)](
        table,
        page,
        packed.queries,
        packed.num_queries,
        packed.target,
        out,
        (width // heads) ** -0.5 * 1.4426950408889634,  # exp2 in place of exp
        N=num_tokens,
        D=width,
        H=heads,
        DH=width // heads,
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
    packed: Packed,
    heads: int,
    out: Tensor,
    *,
    class_only: bool = False,
) -> None:
    """`softmax(q K[page]^T / sqrt(dh)) V[page]` per frame and head, in float32."""
    for frame, named in enumerate(page):
        count = 1 if class_only else int(packed.num_queries[frame])
        rows = packed.queries[frame, :count].long()
        _, k, v = table[named.long()].float().view(len(named), 3, heads, -1).permute(1, 2, 0, 3)
        own = table[packed.target[rows].long(), : out.shape[1]].float()
        q = own.view(count, heads, -1).transpose(0, 1)  # [H, n, dh]
        share = ((q @ k.transpose(1, 2)) * q.shape[-1] ** -0.5).softmax(-1)
        out[rows] = (share @ v).transpose(0, 1).reshape(count, -1).to(out.dtype)


@triton.jit
def _gated_attention_kernel(
    table_ptr,  # [T, 3D]
    page_ptr,  # [F, N]
    queries_ptr,  # [F, N]
    num_queries_ptr,  # [F]
    target_ptr,  # [P]
    out_ptr,  # [P, D]
    scale,
    N: tl.constexpr,
    D: tl.constexpr,
    H: tl.constexpr,
    DH: tl.constexpr,
    CLASS_ONLY: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    # one program per frame and head; the class token's key opens every running softmax, so that
    # the N - 1 patches fill whole blocks
    frame = tl.program_id(0) // H
    head = tl.program_id(0) % H
    count = 1
    if not CLASS_ONLY:
        count = tl.load(num_queries_ptr + frame)
    d = tl.arange(0, DH)
    page_ptr += frame * N
    base_ptr = table_ptr + head * DH
    class_row = tl.load(page_ptr).to(tl.int64) * (3 * D)
    class_k = tl.load(base_ptr + class_row + D + d).to(tl.float32)
    class_v = tl.load(base_ptr + class_row + 2 * D + d).to(tl.float32)
    for start in range(0, count, BLOCK_M):
        m = start + tl.arange(0, BLOCK_M)
        inside_m = m < count
        packed = tl.load(queries_ptr + frame * N + m, mask=inside_m, other=0)
        rows = tl.load(target_ptr + packed, mask=inside_m, other=0).to(tl.int64)
        q = tl.load(
            base_ptr + rows[:, None] * (3 * D) + d[None, :], mask=inside_m[:, None], other=0.0
        )
        largest = tl.sum(q.to(tl.float32) * class_k[None, :], 1) * scale
        total = tl.full((BLOCK_M,), 1.0, dtype=tl.float32)
        mixed = tl.zeros((BLOCK_M, DH), dtype=tl.float32) + class_v[None, :]
        for first in range(1, N, BLOCK_N):
            n = first + tl.arange(0, BLOCK_N)
            inside_n = n < N
            row = tl.load(page_ptr + n, mask=inside_n, other=0).to(tl.int64)
            at = row[:, None] * (3 * D) + d[None, :]
            k = tl.load(base_ptr + at + D, mask=inside_n[:, None], other=0.0)
            v = tl.load(base_ptr + at + 2 * D, mask=inside_n[:, None], other=0.0)
            scores = tl.dot(q, k.T, input_precision="ieee") * scale
            scores = tl.where(inside_n[None, :], scores, -float("inf"))
            new_largest = tl.maximum(largest, tl.max(scores, 1))
            share = tl.exp2(scores - new_largest[:, None])
            shrink = tl.exp2(largest - new_largest)
            total = total * shrink + tl.sum(share, 1)
            mixed = mixed * shrink[:, None]
            mixed = tl.dot(share.to(v.dtype), v, mixed, input_precision="ieee")
            largest = new_largest
        at = packed.to(tl.int64)[:, None] * D + head * DH + d[None, :]
        y = (mixed / total[:, None]).to(out_ptr.dtype.element_ty)
        tl.store(out_ptr + at, y, mask=inside_m[:, None])
