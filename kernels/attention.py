"""Attention on packed queries, keys and values where they lie, and the class token's weights."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from kernels.launch import runs_triton

BLOCK_M, BLOCK_N, STAGES = 64, 128, 2  # queries and keys of a block, blocks on their way


def attend(
    qkv: Tensor,
    heads: int,
    tokens: int,
    *,
    starts: Tensor | None = None,
    out: Tensor | None = None,
    weights: Tensor | None = None,
    class_only: bool = False,
) -> Tensor:
    """Let the tokens of each frame attend to all tokens of that frame.

    Token 0 is the class token. Frame f's tokens are the `tokens` rows of `qkv` from `starts[f]`.

    Args:
        qkv: `[R, 3D]`, queries, keys and values side by side, each the heads' side by side; rows
            may be strided.
        heads: H; D / H is a power of two of at least 16.
        tokens: N, at least 2.
        starts: int64 `[F]`; None: frames follow each other and fill `qkv`.
        out: `[F N, D]`, or `[F, D]` for the class tokens only; None allocates it.
        weights: float32 `[F, H, N]`, filled with the class token's attention where given.
        class_only: attend from the class tokens only.

    Returns:
        `out`, the heads' outputs side by side, token-major.
    """
    width = qkv.shape[1] // 3
    if qkv.ndim != 2 or 3 * width != qkv.shape[1] or width % heads or tokens < 2:
        raise ValueError(f"expected [R, 3D] and N > 1, got {qkv.shape = }, {heads = }, {tokens = }")
    frames = len(qkv) // tokens if starts is None else len(starts)
    if starts is None and frames * tokens != len(qkv):
        raise ValueError(f"expected whole frames of {tokens} rows, got {qkv.shape = }")
    if out is None:
        out = qkv.new_empty(frames if class_only else frames * tokens, width)
    if not runs_triton(qkv):
        return attend_reference(qkv, heads, tokens, starts, out, weights, class_only)
    if frames == 0:
        return out
    size, full = width // heads, (tokens - 1) // BLOCK_M * BLOCK_M
    rest = tokens - 1 - full
    edge = rest if rest < 16 else 0
    blocks = 0 if class_only else full // BLOCK_M + (rest > edge)
    _attend_kernel[(blocks + 1, frames * heads)](
        qkv,
        TensorDescriptor.from_tensor(qkv, [BLOCK_M, size]),
        TensorDescriptor.from_tensor(qkv, [BLOCK_N, size]),
        starts,
        out,
        weights,
        qkv.stride(0),
        size**-0.5 * 1.4426950408889634,  # exp2 in place of exp
        N=tokens,
        D=width,
        H=heads,
        DH=size,
        FULL=full,
        EDGE=edge,
        BLOCK_M=BLOCK_M,
        BLOCK_N=BLOCK_N,
        CLASS_ONLY=class_only,
        num_warps=4,
        num_stages=STAGES,
    )
    return out


def attend_reference(
    qkv: Tensor,
    heads: int,
    tokens: int,
    starts: Tensor | None,
    out: Tensor,
    weights: Tensor | None,
    class_only: bool,
) -> Tensor:
    """Define it: `softmax(q k^T / sqrt(dh)) v` per frame and head, in float32."""
    width = qkv.shape[1] // 3
    if starts is None:
        starts = torch.arange(0, len(qkv), tokens, device=qkv.device)
    rows = starts.long()[:, None] + torch.arange(tokens, device=qkv.device)
    packed = qkv[rows].float().view(len(starts), tokens, 3, heads, -1)
    q, k, v = packed.permute(2, 0, 3, 1, 4)  # [F, H, N, dh]
    share = ((q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5).softmax(-1)
    mixed = (share @ v).transpose(1, 2).reshape(len(starts), tokens, width)
    if weights is not None:
        weights.copy_(share[:, :, 0])
    return out.copy_((mixed[:, 0] if class_only else mixed.reshape(-1, width)).to(out.dtype))


@triton.jit
def _attend_kernel(
    qkv_ptr,  # [R, 3D]
    query_desc,  # the same, in blocks of BLOCK_M rows
    key_desc,  # the same, in blocks of BLOCK_N
    starts_ptr,  # [F] or None
    out_ptr,  # [F N, D], or [F, D]
    weights_ptr,  # [F, H, N] or None
    stride,
    scale,
    N: tl.constexpr,
    D: tl.constexpr,
    H: tl.constexpr,
    DH: tl.constexpr,
    FULL: tl.constexpr,
    EDGE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    CLASS_ONLY: tl.constexpr,
):
    # FULL patches fill whole blocks. The class token and up to 15 patches behind the blocks make
    # an edge of 16 rows: as keys they begin every softmax, as queries they have block 0 to
    # themselves. More patches than that fill one more block in part.
    block = tl.program_id(0)
    frame = (tl.program_id(1) // H).to(tl.int64)
    head = tl.program_id(1) % H
    start = frame * N
    if starts_ptr is not None:
        start = tl.load(starts_ptr + frame)
    base = qkv_ptr + start * stride + head * DH
    d, e = tl.arange(0, DH), tl.arange(0, 16)
    inside = e <= EDGE
    edge = tl.where(inside & (e > 0), FULL + e, 0)  # rows beyond the edge are the class token's
    edge_k = tl.load(base + D + edge[:, None] * stride + d[None, :])
    edge_v = tl.load(base + 2 * D + edge[:, None] * stride + d[None, :])
    if block == 0:
        _attend_edge(
            base, edge, inside, edge_k, edge_v, out_ptr, weights_ptr, frame, head, stride, scale,
            N, D, H, DH, FULL, EDGE, BLOCK_M, CLASS_ONLY,
        )  # fmt: skip
    else:
        row = start.to(tl.int32) + 1
        first = (block - 1) * BLOCK_M
        q = query_desc.load([row + first, head * DH])
        s = tl.where(inside[None, :], tl.dot(q, edge_k.T), float("-inf"))
        peak = tl.max(s, 1) * scale
        p = tl.exp2(s * scale - peak[:, None])
        total = tl.sum(p, 1)
        acc = tl.dot(p.to(edge_v.dtype), edge_v)
        wide: tl.constexpr = FULL // BLOCK_N * BLOCK_N
        for key in range(0, wide, BLOCK_N):
            k = key_desc.load([row + key, D + head * DH])
            v = key_desc.load([row + key, 2 * D + head * DH])
            peak, total, acc = _attend_block(q, k, v, peak, total, acc, scale, BLOCK_N)
        for key in tl.static_range(wide, N - 1 - EDGE, BLOCK_M):
            k = query_desc.load([row + key, D + head * DH])
            v = query_desc.load([row + key, 2 * D + head * DH])
            peak, total, acc = _attend_block(q, k, v, peak, total, acc, scale, N - 1 - key)
        m = first + 1 + tl.arange(0, BLOCK_M)
        target = out_ptr + (frame * N + m[:, None]) * D + head * DH + d[None, :]
        mixed = (acc / total[:, None]).to(out_ptr.dtype.element_ty)
        if N - 1 - FULL > EDGE:
            tl.store(target, mixed, mask=(m < N)[:, None])
        else:
            tl.store(target, mixed)


@triton.jit
def _attend_block(q, k, v, peak, total, acc, scale, LEFT: tl.constexpr):
    # one step of a running softmax; of the keys only the first LEFT are the frame's
    s = tl.dot(q, k.T)
    n = tl.arange(0, k.shape[0])
    if k.shape[0] > LEFT:
        s = tl.where((n < LEFT)[None, :], s, float("-inf"))
        v = tl.where((n < LEFT)[:, None], v, 0.0)
    new_peak = tl.maximum(peak, tl.max(s, 1) * scale)
    shrink = tl.exp2(peak - new_peak)
    p = tl.exp2(s * scale - new_peak[:, None])
    total = total * shrink + tl.sum(p, 1)
    return new_peak, total, tl.dot(p.to(v.dtype), v, acc * shrink[:, None])


@triton.jit
def _attend_edge(
    base,
    edge,
    inside,
    edge_k,
    edge_v,
    out_ptr,
    weights_ptr,
    frame,
    head,
    stride,
    scale,
    N: tl.constexpr,
    D: tl.constexpr,
    H: tl.constexpr,
    DH: tl.constexpr,
    FULL: tl.constexpr,
    EDGE: tl.constexpr,
    BLOCK: tl.constexpr,
    CLASS_ONLY: tl.constexpr,
):
    d = tl.arange(0, DH)
    q = tl.load(base + edge[:, None] * stride + d[None, :])
    s = tl.where(inside[None, :], tl.dot(q, edge_k.T), float("-inf"))
    peak = tl.max(s, 1) * scale
    p = tl.exp2(s * scale - peak[:, None])
    total = tl.sum(p, 1)
    acc = tl.dot(p.to(edge_v.dtype), edge_v)
    for key in range(0, FULL, BLOCK):
        keys = base + D + (key + 1 + tl.arange(0, BLOCK))[:, None] * stride + d[None, :]
        k, v = tl.load(keys), tl.load(keys + D)
        peak, total, acc = _attend_block(q, k, v, peak, total, acc, scale, BLOCK)
    if N - 1 - FULL > EDGE:
        n = FULL + 1 + tl.arange(0, BLOCK)
        keys = base + D + n[:, None] * stride + d[None, :]
        k = tl.load(keys, mask=(n < N)[:, None], other=0.0)
        v = tl.load(keys + D, mask=(n < N)[:, None], other=0.0)
        peak, total, acc = _attend_block(q, k, v, peak, total, acc, scale, N - 1 - FULL)
    rows = frame * N + edge
    own = inside
    if CLASS_ONLY:
        rows = frame + edge * 0
        own = edge == 0
    own = own & ((edge > 0) | (tl.arange(0, 16) == 0))
    target = out_ptr + rows[:, None] * D + head * DH + d[None, :]
    tl.store(target, (acc / total[:, None]).to(out_ptr.dtype.element_ty), mask=own[:, None])
    if weights_ptr is not None:
        weights = weights_ptr + (frame * H + head) * N + edge[:, None] * 0
        only = (tl.arange(0, 16) == 0)[:, None]
        share = tl.exp2(s * scale - peak[:, None]) / total[:, None]
        tl.store(weights + edge[None, :], share, mask=only & inside[None, :])
        for key in range(0, N - 1 - EDGE, BLOCK):
            n = key + 1 + tl.arange(0, BLOCK)
            keys = base + D + n[:, None] * stride + d[None, :]
            k = tl.load(keys, mask=(n < N)[:, None], other=0.0)
            part = tl.exp2(tl.dot(q, k.T) * scale - peak[:, None]) / total[:, None]
            tl.store(weights + n[None, :], part, mask=only & (n < N)[None, :])
