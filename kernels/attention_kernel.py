"""The programs of `kernels.attention`: patches in whole blocks, or with an edge behind them."""

import triton
import triton.language as tl


@triton.jit
def attend_whole(
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
    CLASS_ONLY: tl.constexpr,
):
    # the patches fill whole blocks of BLOCK_N: the class token's key is the first of every running
    # softmax, by vectors; its query has a program of its own, block 0
    block = tl.program_id(0)
    frame = (tl.program_id(1) // H).to(tl.int64)
    head = tl.program_id(1) % H
    start = frame * N
    if starts_ptr is not None:
        start = tl.load(starts_ptr + frame)
        if start < 0:
            return
    base = qkv_ptr + start * stride + head * DH
    d = tl.arange(0, DH)
    first_k = tl.load(base + D + d).to(tl.float32)
    first_v = tl.load(base + 2 * D + d).to(tl.float32)
    if block == 0:
        _attend_class(
            base=base,
            first_k=first_k,
            first_v=first_v,
            out_ptr=out_ptr,
            weights_ptr=weights_ptr,
            frame=frame,
            head=head,
            stride=stride,
            scale=scale,
            N=N,
            D=D,
            H=H,
            DH=DH,
            BLOCK_N=BLOCK_N,
            CLASS_ONLY=CLASS_ONLY,
        )
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
    BLOCK_N: tl.constexpr,
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
    for key in range(1, N, BLOCK_N):
        n = key + tl.arange(0, BLOCK_N)
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
        for key in range(1, N, BLOCK_N):
            n = key + tl.arange(0, BLOCK_N)
            keys = base + D + n[:, None] * stride + d[None, :]
            k = tl.load(keys, mask=(n < N)[:, None], other=0.0)
            p = tl.exp2(tl.dot(q, k.T) * scale - peak[:, None]) / total[:, None]
            tl.store(weights[:, None] + n[None, :], p, mask=only & (n < N)[None, :])


@triton.jit
def attend_edged(
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
        if start < 0:
            return
    base = qkv_ptr + start * stride + head * DH
    d, e = tl.arange(0, DH), tl.arange(0, 16)
    inside = e <= EDGE
    edge = tl.where(inside & (e > 0), FULL + e, 0)  # rows beyond the edge are the class token's
    edge_k = tl.load(base + D + edge[:, None] * stride + d[None, :])
    edge_v = tl.load(base + 2 * D + edge[:, None] * stride + d[None, :])
    if block == 0:
        _attend_edge(
            base=base,
            edge=edge,
            inside=inside,
            edge_k=edge_k,
            edge_v=edge_v,
            out_ptr=out_ptr,
            weights_ptr=weights_ptr,
            frame=frame,
            head=head,
            stride=stride,
            scale=scale,
            N=N,
            D=D,
            H=H,
            DH=DH,
            FULL=FULL,
            EDGE=EDGE,
            BLOCK=BLOCK_M,
            CLASS_ONLY=CLASS_ONLY,
        )
    else:
        row = start.to(tl.int32) + 1
        first = (block - 1) * BLOCK_M
        q = query_desc.load([row + first, head * DH])
        s = tl.where(inside[None, :], tl.dot(q, edge_k.T), float("-inf"))
        peak = tl.max(s, 1) * scale
        p = tl.exp2(s * scale - peak[:, None])
        total = tl.sum(p, 1)
        acc = tl.dot(p.to(edge_v.dtype), edge_v)
        for key in range(0, FULL, BLOCK_N):
            k = key_desc.load([row + key, D + head * DH])
            v = key_desc.load([row + key, 2 * D + head * DH])
            peak, total, acc = _attend_block(q, k, v, peak, total, acc, scale, BLOCK_N)
        if N - 1 - FULL > EDGE:
            k = key_desc.load([row + FULL, D + head * DH])
            v = key_desc.load([row + FULL, 2 * D + head * DH])
            peak, total, acc = _attend_block(q, k, v, peak, total, acc, scale, N - 1 - FULL)
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
