"""Attention of frames of any number of tokens, each of which may stand for several."""

import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from kernels.attention import attend_reference
from kernels.launch import runs_triton

BLOCK_M, BLOCK_N = 64, 64
SMALLEST = 1e-6  # that a token counts for: what is merged against its direction may leave none


def attend_sized(
    qkv: Tensor,
    heads: int,
    tokens: int,
    *,
    sizes: Tensor | None = None,
    out: Tensor | None = None,
    weights: Tensor | None = None,
    class_only: bool = False,
) -> Tensor:
    """Let the tokens of each frame attend to all tokens of that frame, by what each stands for.

    As `attend`, but one program serves every number of tokens.

    Args:
        qkv: `[F N, 3D]`, queries, keys and values side by side, each the heads' side by side; rows
            may be strided.
        heads: H; D / H is a power of two of at least 16.
        tokens: N, of each frame.
        sizes: float32 `[F, N]`, how many tokens each key counts for, its logarithm being added to
            all its scores; None: one.
        out: `[F N, D]`, or `[F, D]` for the class tokens only; None allocates it.
        weights: float32 `[F, H, N]`, filled with the class token's attention where given.
        class_only: attend from the class tokens, each frame's first, only.

    Returns:
        `out`, the heads' outputs side by side, token-major.
    """
    width = qkv.shape[1] // 3
    if qkv.ndim != 2 or 3 * width != qkv.shape[1] or width % heads or len(qkv) % tokens:
        raise ValueError(f"expected [F N, 3D], got {qkv.shape = }, {heads = }, {tokens = }")
    frames = len(qkv) // tokens
    if out is None:
        out = qkv.new_empty(frames if class_only else frames * tokens, width)
    if not runs_triton(qkv):
        return attend_reference(qkv, heads, tokens, None, out, weights, class_only, sizes)
    if frames == 0:
        return out
    size = width // heads
    blocks = 1 if class_only else triton.cdiv(tokens, BLOCK_M)
    _attend_sized_kernel[(blocks, frames * heads)](
        query_desc=TensorDescriptor.from_tensor(qkv, [BLOCK_M, size]),
        key_desc=TensorDescriptor.from_tensor(qkv, [BLOCK_N, size]),
        sizes_ptr=sizes,
        out_ptr=out,
        weights_ptr=weights,
        scale=size**-0.5 * 1.4426950408889634,  # exp2 in place of exp
        N=tokens,
        smallest=SMALLEST,
        D=width,
        H=heads,
        DH=size,
        BLOCK_M=BLOCK_M,
        BLOCK_N=BLOCK_N,
        CLASS_ONLY=class_only,
        num_warps=4,
        num_stages=2,
    )
    return out


@triton.jit
def _attend_sized_kernel(
    query_desc,  # [F N, 3D]
    key_desc,  # the same
    sizes_ptr,  # [F, N] or None
    out_ptr,  # [F N, D], or [F, D]
    weights_ptr,  # [F, H, N] or None
    scale,
    N,
    smallest,
    D: tl.constexpr,
    H: tl.constexpr,
    DH: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    CLASS_ONLY: tl.constexpr,
):
    # rows behind a frame's last are the next frame's, or zeros: as keys they are masked
    block = tl.program_id(0)
    frame = (tl.program_id(1) // H).to(tl.int64)
    head = tl.program_id(1) % H
    row = (frame * N).to(tl.int32)
    if sizes_ptr is not None:
        sizes_ptr += frame * N
    q = query_desc.load([row + block * BLOCK_M, head * DH])
    peak = tl.full((BLOCK_M,), -1.0e30, tl.float32)
    total = tl.zeros((BLOCK_M,), tl.float32)
    acc = tl.zeros((BLOCK_M, DH), tl.float32)
    for key in range(0, N, BLOCK_N):
        k = key_desc.load([row + key, D + head * DH])
        v = key_desc.load([row + key, 2 * D + head * DH])
        s = _score(q, k, key, sizes_ptr, scale, N, smallest, BLOCK_N)
        new_peak = tl.maximum(peak, tl.max(s, 1))
        shrink = tl.exp2(peak - new_peak)
        p = tl.exp2(s - new_peak[:, None])
        total = total * shrink + tl.sum(p, 1)
        acc = tl.dot(p.to(v.dtype), v, acc * shrink[:, None], input_precision="ieee")
        peak = new_peak
    m, d = block * BLOCK_M + tl.arange(0, BLOCK_M), tl.arange(0, DH)
    rows, inside = frame * N + m, m < N
    if CLASS_ONLY:
        rows, inside = frame + m * 0, m == 0
    target = out_ptr + rows[:, None] * D + head * DH + d[None, :]
    mixed = acc / total[:, None]
    tl.store(target, mixed.to(out_ptr.dtype.element_ty), mask=inside[:, None])
    if weights_ptr is not None:
        weights_ptr += (frame * H + head) * N
        # only the first block has the class token's query
        for key in range(tl.where(block == 0, 0, N), N, BLOCK_N):
            k = key_desc.load([row + key, D + head * DH])
            s = _score(q, k, key, sizes_ptr, scale, N, smallest, BLOCK_N)
            p = tl.exp2(s - peak[:, None]) / total[:, None]
            first = tl.sum(tl.where((m == 0)[:, None], p, 0.0), 0)
            n = key + tl.arange(0, BLOCK_N)
            tl.store(weights_ptr + n, first, mask=n < N)


@triton.jit
def _score(q, k, key, sizes_ptr, scale, N, smallest, BLOCK_N: tl.constexpr):
    # what a key counts for and whether it is there is one number, added to its scores
    n = key + tl.arange(0, BLOCK_N)
    bias = tl.zeros((BLOCK_N,), tl.float32)
    if sizes_ptr is not None:
        size = tl.load(sizes_ptr + n, mask=n < N, other=1.0)
        bias = tl.log2(tl.maximum(size, smallest))
    bias = tl.where(n < N, bias, -1.0e30)
    return tl.dot(q, k.T, input_precision="ieee") * scale + bias[None, :]
