"""Attention on packed queries, keys and values where they lie, and the class token's weights."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from kernels.launch import runs_triton


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
    block_m, block_n, size = 64, 128, width // heads
    blocks = 0 if class_only else triton.cdiv(tokens - 1, block_m)
    _attend_kernel[(blocks + 1, frames * heads)](
        qkv,
        TensorDescriptor.from_tensor(qkv, [block_m, size]),
        TensorDescriptor.from_tensor(qkv, [block_n, size]),
        starts,
        out,
        weights,
        qkv.stride(0),
        size**-0.5 * 1.4426950408889634,  # exp2 in place of exp
        N=tokens,
        D=width,
        H=heads,
        DH=size,
        BLOCK_M=block_m,
        BLOCK_N=block_n,
        BLOCK_C=128,
        CLASS_ONLY=class_only,
        num_warps=4,
        num_stages=2,
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
    query_desc,  # the same
    key_desc,  # the same
    starts_ptr,  # [F] or None
    out_ptr,  # [F N, D], or [F, D]
    weights_ptr,  # [F, H, N] or None
    stride,
    scale,
    N: tl.constexpr,
    D: tl.constexpr,
    H: tl.constexpr,
    DH: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_C: tl.constexpr,
    CLASS_ONLY: tl.constexpr,
):
    # the class token's key is the first of every running softmax, so that the N - 1 patches fill
    # whole blocks; its query has a program of its own, block 0
    block = tl.program_id(0)
    frame = (tl.program_id(1) // H).to(tl.int64)
    head = tl.program_id(1) % H
    start = frame * N
    if starts_ptr is not None:
        start = tl.load(starts_ptr + frame)
    base = qkv_ptr + start * stride + head * DH
    d = tl.arange(0, DH)
    first_k = tl.load(base + D + d).to(tl.float32)
    first_v = tl.load(base + 2 * D + d).to(tl.float32)
    if block == 0:
        _attend_class(
            base, first_k, first_v, out_ptr, weights_ptr, frame, head, stride, scale,
            N, D, H, DH, BLOCK_C, CLASS_ONLY,
        )  # fmt: skip
    else:
        row = start.to(tl.int32)
        m = (block - 1) * BLOCK_M + 1 + tl.arange(0, BLOCK_M)
        inside = (m < N)[:, None]
        q = query_desc.load([row + (block - 1) * BLOCK_M + 1, head * DH])
        peak = tl.sum(q.to(tl.float32) * first_k[None, :], 1) * scale
        total = tl.full((BLOCK_M,), 1.0, tl.float32)
        acc = tl.zeros((BLOCK_M, DH), tl.float32) + first_v[None, :]
        for key in range(1, N, BLOCK_N):
            k = key_desc.load([row + key, D + head * DH])
            v = key_desc.load([row + key, 2 * D + head * DH])
            s = tl.dot(q, k.T)
            if (N - 1) % BLOCK_N != 0:
                there = key + tl.arange(0, BLOCK_N) < N
                s = tl.where(there[None, :], s, float("-inf"))
                v = tl.where(there[:, None], v, 0.0)
            new_peak = tl.maximum(peak, tl.max(s, 1) * scale)
            shrink = tl.exp2(peak - new_peak)
            p = tl.exp2(s * scale - new_peak[:, None])
            total = total * shrink + tl.sum(p, 1)
            acc = tl.dot(p.to(v.dtype), v, acc * shrink[:, None])
            peak = new_peak
        mixed = acc / total[:, None]
        target = out_ptr + (frame * N + m[:, None]) * D + head * DH + d[None, :]
        tl.store(target, mixed.to(out_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _attend_class(
    base,
    first_k,
    first_v,
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
    BLOCK_C: tl.constexpr,
    CLASS_ONLY: tl.constexpr,
):
    # sixteen equal rows, the fewest that a product of the tensor cores takes
    d = tl.arange(0, DH)
    rows = tl.arange(0, 16)
    q = tl.load(base + rows[:, None] * 0 + d[None, :])
    peak = tl.sum(q.to(tl.float32) * first_k[None, :], 1) * scale
    total = tl.full((16,), 1.0, tl.float32)
    acc = tl.zeros((16, DH), tl.float32) + first_v[None, :]
    first = peak
    for key in range(1, N, BLOCK_C):
        n = key + tl.arange(0, BLOCK_C)
        keys = base + D + n[:, None] * stride + d[None, :]
        k = tl.load(keys, mask=(n < N)[:, None], other=0.0)
        v = tl.load(keys + D, mask=(n < N)[:, None], other=0.0)
        s = tl.where((n < N)[None, :], tl.dot(q, k.T), float("-inf"))
        new_peak = tl.maximum(peak, tl.max(s, 1) * scale)
        shrink = tl.exp2(peak - new_peak)
        p = tl.exp2(s * scale - new_peak[:, None])
        total = total * shrink + tl.sum(p, 1)
        acc = tl.dot(p.to(v.dtype), v, acc * shrink[:, None])
        peak = new_peak
    row = frame if CLASS_ONLY else frame * N
    only = (rows == 0)[:, None]
    target = out_ptr + row * D + head * DH + rows[:, None] * 0 + d[None, :]
    tl.store(target, (acc / total[:, None]).to(out_ptr.dtype.element_ty), mask=only)
    if weights_ptr is not None:
        weights = weights_ptr + (frame * H + head) * N + rows * 0
        tl.store(weights, tl.exp2(first - peak) / total, mask=rows == 0)
        for key in range(1, N, BLOCK_C):
            n = key + tl.arange(0, BLOCK_C)
            keys = base + D + n[:, None] * stride + d[None, :]
            k = tl.load(keys, mask=(n < N)[:, None], other=0.0)
            p = tl.exp2(tl.dot(q, k.T) * scale - peak[:, None]) / total[:, None]
            tl.store(weights[:, None] + n[None, :], p, mask=only & (n < N)[None, :])
