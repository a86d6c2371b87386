"""Attention on packed queries, keys and values where they lie, and the class token's weights."""

import torch
import triton
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from kernels.attention_kernel import attend_edged, attend_whole
from kernels.launch import runs_triton

BLOCK_M = 64  # queries of a block
WHOLE, EDGED = 128, 64  # keys of a block: where patches fill blocks of 128, and where they don't


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
        starts: int64 `[F]`, below zero for a frame that is not there, of which nothing is
            written; None: frames follow each other and fill `qkv`.
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
    size = width // heads
    rest = (tokens - 1) % EDGED
    edge = rest if rest < 16 else 0
    if (tokens - 1) % WHOLE == 0:
        program, block_n, more = attend_whole, WHOLE, {}
    else:
        full = tokens - 1 - rest
        program, block_n, more = attend_edged, EDGED, {"FULL": full, "EDGE": edge}
    blocks = 0 if class_only else triton.cdiv(tokens - 1 - edge, BLOCK_M)
    program[(blocks + 1, frames * heads)](
        qkv_ptr=qkv,
        query_desc=TensorDescriptor.from_tensor(qkv, [BLOCK_M, size]),
        key_desc=TensorDescriptor.from_tensor(qkv, [block_n, size]),
        starts_ptr=starts,
        out_ptr=out,
        weights_ptr=weights,
        stride=qkv.stride(0),
        scale=size**-0.5 * 1.4426950408889634,  # exp2 in place of exp
        N=tokens,
        D=width,
        H=heads,
        DH=size,
        BLOCK_M=BLOCK_M,
        BLOCK_N=block_n,
        CLASS_ONLY=class_only,
        num_warps=4,
        num_stages=2,
        **more,
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
    sizes: Tensor | None = None,
) -> Tensor:
    """Define it: `softmax(q k^T / sqrt(dh)) v` per frame and head, in float32.

    A key of size s, float32 `[F, N]`, counts s times, at the least 1e-6.
    """
    width = qkv.shape[1] // 3
    if starts is None:
        starts = torch.arange(0, len(qkv), tokens, device=qkv.device)
    there = starts >= 0
    rows = starts[there].long()[:, None] + torch.arange(tokens, device=qkv.device)
    packed = qkv[rows].float().view(len(rows), tokens, 3, heads, -1)
    q, k, v = packed.permute(2, 0, 3, 1, 4)  # [F, H, N, dh]
    scores = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
    if sizes is not None:
        scores = scores + sizes[there].clamp(min=1e-6).log()[:, None, None]
    share = scores.softmax(-1)
    mixed = (share @ v).transpose(1, 2).reshape(len(rows), tokens, width).to(out.dtype)
    if weights is not None:
        weights[there] = share[:, :, 0]
    if class_only:
        out[there] = mixed[:, 0]
    else:
        out.view(len(starts), tokens, width)[there] = mixed
    return out
