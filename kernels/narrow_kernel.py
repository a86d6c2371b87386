"""The program of `kernels.narrow`: one per stream and position, over all slots of a step."""

import triton
import triton.language as tl

from kernels.eight import fit_row


@triton.jit
def _pick(index, v0, v1, v2, v3, v4):
    value = tl.where(index == 1, v1, v0)
    value = tl.where(index == 2, v2, value)
    value = tl.where(index == 3, v3, value)
    return tl.where(index == 4, v4, value)


@triton.jit
def _key(source, row, root, keys_ptr, roots_ptr, offs_c, C: tl.constexpr):
    # the root of source 0 lies in the table, that of a slot among the packed rows
    cached_width = tl.where(source == 0, C, 0)
    inside_width = tl.where(source > 0, C, 0)
    cached = tl.load(roots_ptr + root * C + offs_c, mask=offs_c < cached_width, other=0.0)
    inside = tl.load(
        keys_ptr + row.to(tl.int64) * C + offs_c, mask=offs_c < inside_width, other=0.0
    )
    return cached.to(tl.float32) + inside.to(tl.float32)


@triton.jit
def _follow(
    SLOT: tl.constexpr,
    follows,
    r1, r2, r3, r4,  # packed rows of the slots
    s1, s2, s3, s4,  # sources of the slots before
    root,
    patch,
    limit_ptr,
    keys_ptr,
    roots_ptr,
    h_ptr,
    learned_ptr,
    learned_bias_ptr,
    D: tl.constexpr,
    C: tl.constexpr,
    FIRST: tl.constexpr,
    SECOND: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_C: tl.constexpr,
):  # fmt: skip
    # which source the token of a slot follows from here on
    chosen = follows
    own_row = _pick(SLOT + 1, 0, r1, r2, r3, r4).to(tl.int64)
    limit = tl.full((), -1.0, tl.float32)
    if (own_row >= 0) & patch:
        limit = tl.load(limit_ptr)
    if limit >= 0:  # else there is nothing to compare, and it goes on following itself
        first: tl.constexpr = (FIRST >> (4 * SLOT)) & 15
        second: tl.constexpr = (SECOND >> (4 * SLOT)) & 15
        offs_d, offs_c = tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_C)
        own = tl.load(keys_ptr + own_row * C + offs_c, mask=offs_c < C, other=0.0).to(tl.float32)
        source = _pick(first, 0, s1, s2, s3, s4)
        row = _pick(source, 0, r1, r2, r3, r4)
        change = own - _key(source, row, root, keys_ptr, roots_ptr, offs_c, C)
        distance = tl.sum(change * change)
        if learned_ptr is not None:
            state = tl.load(h_ptr + own_row * D + offs_d, mask=offs_d < D, other=0.0)
            state = state.to(tl.float32)
            learned = tl.load(learned_ptr + offs_d, mask=offs_d < D, other=0.0).to(tl.float32)
            raised = tl.sum(state * learned) * tl.rsqrt(tl.sum(state * state) / D + 1e-6)
            raised += tl.load(learned_bias_ptr + SLOT).to(tl.float32)
            limit *= tl.exp(tl.minimum(tl.maximum(raised, -4.0), 4.0))
        nearest = tl.sum(own * own) * limit * limit
        near = distance <= nearest
        chosen = tl.where(near, first, SLOT + 1)
        if second != first:
            nearest = tl.where(near, distance, nearest)
            source = _pick(second, 0, s1, s2, s3, s4)
            row = _pick(source, 0, r1, r2, r3, r4)
            change = own - _key(source, row, root, keys_ptr, roots_ptr, offs_c, C)
            distance = tl.sum(change * change)
            nearer = (distance < nearest) | ((distance == nearest) & (chosen == SLOT + 1))
            chosen = tl.where(nearer, second, chosen)
    return chosen


@triton.jit
def _pack(
    SLOT: tl.constexpr,
    computed,
    rank,
    target,
    row,
    frame,
    patch,
    spare,
    num_tokens,
    h_ptr,
    keys_ptr,
    roots_ptr,
    normed_ptr,
    units_ptr,
    origin_ptr,
    target_ptr,
    queries_ptr,
    num_queries_ptr,
    weight_ptr,
    bias_ptr,
    eps,
    D: tl.constexpr,
    C: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    # a class token has its row and its place in the list even where its frame is not there
    if computed & patch:
        place = tl.atomic_add(num_queries_ptr + frame, 1, sem="relaxed")
        tl.store(queries_ptr + frame * num_tokens + place, rank)
        tl.store(target_ptr + rank, target)
    if not patch:
        tl.store(queries_ptr + frame * num_tokens, rank)
        tl.store(target_ptr + rank, target)
    if computed:
        tl.store(origin_ptr + rank, row)
        offs_d = tl.arange(0, BLOCK_D)
        inside = offs_d < D
        old_row, new_row = row.to(tl.int64), rank.to(tl.int64)
        own = tl.load(h_ptr + old_row * D + offs_d, mask=inside, other=0.0).to(tl.float32)
        weight = tl.load(weight_ptr + offs_d, mask=inside, other=0.0).to(tl.float32)
        bias = tl.load(bias_ptr + offs_d, mask=inside, other=0.0).to(tl.float32)
        centred = tl.where(inside, own - tl.sum(own) / D, 0.0)
        scale = tl.rsqrt(tl.sum(centred * centred) / D + eps)
        normed = centred * scale * weight + bias
        if units_ptr is not None:
            normed = fit_row(normed, units_ptr + rank)
        stored = normed.to(normed_ptr.dtype.element_ty)
        tl.store(normed_ptr + new_row * D + offs_d, stored, mask=inside)
        if SLOT == 0:
            offs_c = tl.arange(0, BLOCK_C)
            key = tl.load(keys_ptr + old_row * C + offs_c, mask=offs_c < C, other=0.0)
            tl.store(roots_ptr + spare.to(tl.int64) * C + offs_c, key, mask=offs_c < C)


@triton.jit
def narrow_kernel(
    h_ptr,  # [P, D]
    keys_ptr,  # [P, C]
    roots_ptr,  # [T, C]
    learned_ptr,  # [D] or None
    learned_bias_ptr,  # [4] or None
    row_of_ptr,  # [S, B, N]
    follows_ptr,  # [S, B, N]
    page_ptr,  # [S, B, N]
    root_ptr,  # [B, N]
    spare_ptr,  # [B, N]
    normed_ptr,  # [P, D]
    units_ptr,  # [P] or None
    origin_ptr,  # [P]
    target_ptr,  # [P]
    queries_ptr,  # [S B, N]
    num_queries_ptr,  # [S B]
    count_ptr,  # [1]
    limits_ptr,  # [S, B, N]
    weight_ptr,  # [D]
    bias_ptr,  # [D]
    eps,
    streams,
    num_tokens,
    num_roots,
    limit_stride_s,
    limit_stride_b,
    limit_stride_n,
    D: tl.constexpr,
    C: tl.constexpr,
    SLOTS: tl.constexpr,
    FIRST: tl.constexpr,
    SECOND: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    # one program per stream and position walks over the slots; a slot beyond the last has no row
    at = tl.program_id(0)
    stream, position = at // num_tokens, at % num_tokens
    grid = streams * num_tokens
    patch = position > 0
    r1 = tl.load(row_of_ptr + at)
    r2 = tl.load(row_of_ptr + grid + at, mask=SLOTS > 1, other=-1)
    r3 = tl.load(row_of_ptr + 2 * grid + at, mask=SLOTS > 2, other=-1)
    r4 = tl.load(row_of_ptr + 3 * grid + at, mask=SLOTS > 3, other=-1)
    f1 = tl.load(follows_ptr + at)
    f2 = tl.load(follows_ptr + grid + at, mask=SLOTS > 1, other=0)
    f3 = tl.load(follows_ptr + 2 * grid + at, mask=SLOTS > 2, other=0)
    f4 = tl.load(follows_ptr + 3 * grid + at, mask=SLOTS > 3, other=0)
    root, spare = tl.load(root_ptr + at), tl.load(spare_ptr + at)
    root_row = root.to(tl.int64)
    limit_ptr = limits_ptr + stream * limit_stride_b + position * limit_stride_n
    f1 = _follow(
        0, f1, r1, r2, r3, r4, 0, 0, 0, 0, root_row, patch, limit_ptr, keys_ptr, roots_ptr, h_ptr,
        learned_ptr, learned_bias_ptr, D, C, FIRST, SECOND, BLOCK_D, BLOCK_C,
    )  # fmt: skip
    s1 = tl.where(f1 == 1, 1, 0)
    limit_ptr += limit_stride_s
    f2 = _follow(
        1, f2, r1, r2, r3, r4, s1, 0, 0, 0, root_row, patch, limit_ptr, keys_ptr, roots_ptr, h_ptr,
        learned_ptr, learned_bias_ptr, D, C, FIRST, SECOND, BLOCK_D, BLOCK_C,
    )  # fmt: skip
    s2 = _pick(f2, 0, s1, 2, 0, 0)
    limit_ptr += limit_stride_s
    f3 = _follow(
        2, f3, r1, r2, r3, r4, s1, s2, 0, 0, root_row, patch, limit_ptr, keys_ptr, roots_ptr, h_ptr,
        learned_ptr, learned_bias_ptr, D, C, FIRST, SECOND, BLOCK_D, BLOCK_C,
    )  # fmt: skip
    s3 = _pick(f3, 0, s1, s2, 3, 0)
    limit_ptr += limit_stride_s
    f4 = _follow(
        3, f4, r1, r2, r3, r4, s1, s2, s3, 0, root_row, patch, limit_ptr, keys_ptr, roots_ptr,
        h_ptr, learned_ptr, learned_bias_ptr, D, C, FIRST, SECOND, BLOCK_D, BLOCK_C,
    )  # fmt: skip
    s4 = _pick(f4, 0, s1, s2, s3, 4)

    c1, c2, c3, c4 = (s1 == 1) & (r1 >= 0), (s2 == 2) & (r2 >= 0), (s3 == 3) & (r3 >= 0), (s4 == 4) & (r4 >= 0)  # noqa: E501  # fmt: skip
    n1, n2, n3 = c1.to(tl.int32), c2.to(tl.int32), c3.to(tl.int32)
    total = n1 + n2 + n3 + c4.to(tl.int32)
    k1, k2, k3, k4 = stream, stream + streams, stream + 2 * streams, stream + 3 * streams
    if patch & (total > 0):
        k1 = tl.atomic_add(count_ptr, total, sem="relaxed")
        k2 = k1 + n1
        k3 = k2 + n2
        k4 = k3 + n3
    t1, t2, t3, t4 = tl.where(c1, spare, num_roots + k1), num_roots + k2, num_roots + k3, num_roots + k4  # noqa: E501  # fmt: skip
    # what stands for each token is its source's row
    tl.store(page_ptr + at, _pick(s1, root, t1, t2, t3, t4))
    tl.store(row_of_ptr + at, tl.where(c1, k1, -1))
    tl.store(follows_ptr + at, f1)
    if c1:
        tl.store(root_ptr + at, spare)
        tl.store(spare_ptr + at, root)
    _pack(
        0, c1, k1, t1, r1, stream, patch, spare, num_tokens, h_ptr, keys_ptr, roots_ptr,
        normed_ptr, units_ptr, origin_ptr, target_ptr, queries_ptr, num_queries_ptr, weight_ptr,
        bias_ptr, eps, D, C, BLOCK_D, BLOCK_C,
    )  # fmt: skip
    if SLOTS > 1:
        tl.store(page_ptr + grid + at, _pick(s2, root, t1, t2, t3, t4))
        tl.store(row_of_ptr + grid + at, tl.where(c2, k2, -1))
        tl.store(follows_ptr + grid + at, f2)
        _pack(
            1, c2, k2, t2, r2, stream + streams, patch, spare, num_tokens, h_ptr, keys_ptr,
            roots_ptr, normed_ptr, units_ptr, origin_ptr, target_ptr, queries_ptr,
            num_queries_ptr, weight_ptr, bias_ptr, eps, D, C, BLOCK_D, BLOCK_C,
        )  # fmt: skip
    if SLOTS > 2:
        tl.store(page_ptr + 2 * grid + at, _pick(s3, root, t1, t2, t3, t4))
        tl.store(row_of_ptr + 2 * grid + at, tl.where(c3, k3, -1))
        tl.store(follows_ptr + 2 * grid + at, f3)
        _pack(
            2, c3, k3, t3, r3, stream + 2 * streams, patch, spare, num_tokens, h_ptr, keys_ptr,
            roots_ptr, normed_ptr, units_ptr, origin_ptr, target_ptr, queries_ptr,
            num_queries_ptr, weight_ptr, bias_ptr, eps, D, C, BLOCK_D, BLOCK_C,
        )  # fmt: skip
    if SLOTS > 3:
        tl.store(page_ptr + 3 * grid + at, _pick(s4, root, t1, t2, t3, t4))
        tl.store(row_of_ptr + 3 * grid + at, tl.where(c4, k4, -1))
        tl.store(follows_ptr + 3 * grid + at, f4)
        _pack(
            3, c4, k4, t4, r4, stream + 3 * streams, patch, spare, num_tokens, h_ptr, keys_ptr,
            roots_ptr, normed_ptr, units_ptr, origin_ptr, target_ptr, queries_ptr,
            num_queries_ptr, weight_ptr, bias_ptr, eps, D, C, BLOCK_D, BLOCK_C,
        )  # fmt: skip
