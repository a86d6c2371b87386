"""The program of `kernels.narrow`: one per stream and position, over all slots of a step."""

import triton
import triton.language as tl

from kernels.eight import fit_row


@triton.jit
def _pick(index, zero, values):
    value = tl.where(index == 1, values[0], zero)
    value = tl.where(index == 2, values[1], value)
    value = tl.where(index == 3, values[2], value)
    return tl.where(index == 4, values[3], value)


@triton.jit
def _key(source, row, root, compared, offs_c, C: tl.constexpr):
    # the root of source 0 lies in the table, that of a slot among the packed rows
    cached_width = tl.where(source == 0, C, 0)
    inside_width = tl.where(source > 0, C, 0)
    cached = tl.load(compared.roots + root * C + offs_c, mask=offs_c < cached_width, other=0.0)
    inside = tl.load(
        compared.keys + row.to(tl.int64) * C + offs_c, mask=offs_c < inside_width, other=0.0
    )
    return cached.to(tl.float32) + inside.to(tl.float32)


@triton.jit
def _follow(
    SLOT: tl.constexpr,
    follows,
    rows,  # the packed row of each slot
    sources,  # the sources of the slots before
    root,
    patch,
    limit_ptr,
    h_ptr,
    compared,  # kernels.narrow.Compared
    D: tl.constexpr,
    C: tl.constexpr,
    FIRST: tl.constexpr,
    SECOND: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    # which source the token of a slot follows from here on
    chosen = follows
    own_row = rows[SLOT].to(tl.int64)
    limit = tl.full((), -1.0, tl.float32)
    if (own_row >= 0) & patch:
        limit = tl.load(limit_ptr)
    if limit >= 0:  # else there is nothing to compare, and it goes on following itself
        first: tl.constexpr = (FIRST >> (4 * SLOT)) & 15
        second: tl.constexpr = (SECOND >> (4 * SLOT)) & 15
        offs_d, offs_c = tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_C)
        own = tl.load(compared.keys + own_row * C + offs_c, mask=offs_c < C, other=0.0)
        own = own.to(tl.float32)
        source = _pick(first, 0, sources)
        row = _pick(source, 0, rows)
        change = own - _key(source, row, root, compared, offs_c, C)
        distance = tl.sum(change * change)
        if compared.weight is not None:
            state = tl.load(h_ptr + own_row * D + offs_d, mask=offs_d < D, other=0.0)
            state = state.to(tl.float32)
            learned = tl.load(compared.weight + offs_d, mask=offs_d < D, other=0.0).to(tl.float32)
            raised = tl.sum(state * learned) * tl.rsqrt(tl.sum(state * state) / D + 1e-6)
            raised += tl.load(compared.bias + SLOT).to(tl.float32)
            limit *= tl.exp(tl.minimum(tl.maximum(raised, -4.0), 4.0))
        nearest = tl.sum(own * own) * limit * limit
        near = distance <= nearest
        chosen = tl.where(near, first, SLOT + 1)
        if second != first:
            nearest = tl.where(near, distance, nearest)
            source = _pick(second, 0, sources)
            row = _pick(source, 0, rows)
            change = own - _key(source, row, root, compared, offs_c, C)
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
    compared,  # kernels.narrow.Compared
    packed,  # kernels.narrow.Packed
    norm,  # kernels.narrow.Norm
    D: tl.constexpr,
    C: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    # a class token has its row and its place in the list even where its frame is not there
    if computed & patch:
        place = tl.atomic_add(packed.num_queries + frame, 1, sem="relaxed")
        tl.store(packed.queries + frame * num_tokens + place, rank)
        tl.store(packed.target + rank, target)
    if not patch:
        tl.store(packed.queries + frame * num_tokens, rank)
        tl.store(packed.target + rank, target)
    if computed:
        tl.store(packed.origin + rank, row)
        offs_d = tl.arange(0, BLOCK_D)
        inside = offs_d < D
        old_row, new_row = row.to(tl.int64), rank.to(tl.int64)
        own = tl.load(h_ptr + old_row * D + offs_d, mask=inside, other=0.0).to(tl.float32)
        weight = tl.load(norm.weight + offs_d, mask=inside, other=0.0).to(tl.float32)
        bias = tl.load(norm.bias + offs_d, mask=inside, other=0.0).to(tl.float32)
        centred = tl.where(inside, own - tl.sum(own) / D, 0.0)
        scale = tl.rsqrt(tl.sum(centred * centred) / D + norm.eps)
        normed = centred * scale * weight + bias
        if packed.units is not None:
            normed = fit_row(normed, packed.units + rank)
        stored = normed.to(packed.normed.dtype.element_ty)
        tl.store(packed.normed + new_row * D + offs_d, stored, mask=inside)
        if SLOT == 0:
            offs_c = tl.arange(0, BLOCK_C)
            key = tl.load(compared.keys + old_row * C + offs_c, mask=offs_c < C, other=0.0)
            tl.store(compared.roots + spare.to(tl.int64) * C + offs_c, key, mask=offs_c < C)


@triton.jit
def narrow_kernel(
    h_ptr,  # [P, D]
    compared,  # kernels.narrow.Compared
    limit_strides,  # of slots, streams, positions
    tokens,  # kernels.narrow.Tokens
    packed,  # kernels.narrow.Packed
    norm,  # kernels.narrow.Norm
    streams,
    num_tokens,
    num_roots,
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
    r1 = tl.load(tokens.row_of + at)
    r2 = tl.load(tokens.row_of + grid + at, mask=SLOTS > 1, other=-1)
    r3 = tl.load(tokens.row_of + 2 * grid + at, mask=SLOTS > 2, other=-1)
    r4 = tl.load(tokens.row_of + 3 * grid + at, mask=SLOTS > 3, other=-1)
    rows = (r1, r2, r3, r4)
    f1 = tl.load(tokens.follows + at)
    f2 = tl.load(tokens.follows + grid + at, mask=SLOTS > 1, other=0)
    f3 = tl.load(tokens.follows + 2 * grid + at, mask=SLOTS > 2, other=0)
    f4 = tl.load(tokens.follows + 3 * grid + at, mask=SLOTS > 3, other=0)
    root, spare = tl.load(tokens.root + at), tl.load(tokens.spare + at)
    root_row = root.to(tl.int64)
    limit_ptr = compared.limits + stream * limit_strides[1] + position * limit_strides[2]
    f1 = _follow(
        SLOT=0,
        follows=f1,
        rows=rows,
        sources=(0, 0, 0, 0),
        root=root_row,
        patch=patch,
        limit_ptr=limit_ptr,
        h_ptr=h_ptr,
        compared=compared,
        D=D,
        C=C,
        FIRST=FIRST,
        SECOND=SECOND,
        BLOCK_D=BLOCK_D,
        BLOCK_C=BLOCK_C,
    )
    s1 = tl.where(f1 == 1, 1, 0)
    limit_ptr += limit_strides[0]
    f2 = _follow(
        SLOT=1,
        follows=f2,
        rows=rows,
        sources=(s1, 0, 0, 0),
        root=root_row,
        patch=patch,
        limit_ptr=limit_ptr,
        h_ptr=h_ptr,
        compared=compared,
        D=D,
        C=C,
        FIRST=FIRST,
        SECOND=SECOND,
        BLOCK_D=BLOCK_D,
        BLOCK_C=BLOCK_C,
    )
    s2 = _pick(f2, 0, (s1, 2, 0, 0))
    limit_ptr += limit_strides[0]
    f3 = _follow(
        SLOT=2,
        follows=f3,
        rows=rows,
        sources=(s1, s2, 0, 0),
        root=root_row,
        patch=patch,
        limit_ptr=limit_ptr,
        h_ptr=h_ptr,
        compared=compared,
        D=D,
        C=C,
        FIRST=FIRST,
        SECOND=SECOND,
        BLOCK_D=BLOCK_D,
        BLOCK_C=BLOCK_C,
    )
    s3 = _pick(f3, 0, (s1, s2, 3, 0))
    limit_ptr += limit_strides[0]
    f4 = _follow(
        SLOT=3,
        follows=f4,
        rows=rows,
        sources=(s1, s2, s3, 0),
        root=root_row,
        patch=patch,
        limit_ptr=limit_ptr,
        h_ptr=h_ptr,
        compared=compared,
        D=D,
        C=C,
        FIRST=FIRST,
        SECOND=SECOND,
        BLOCK_D=BLOCK_D,
        BLOCK_C=BLOCK_C,
    )
    s4 = _pick(f4, 0, (s1, s2, s3, 4))
    c1, c2 = (s1 == 1) & (r1 >= 0), (s2 == 2) & (r2 >= 0)
    c3, c4 = (s3 == 3) & (r3 >= 0), (s4 == 4) & (r4 >= 0)
    n1, n2, n3 = c1.to(tl.int32), c2.to(tl.int32), c3.to(tl.int32)
    total = n1 + n2 + n3 + c4.to(tl.int32)
    k1, k2, k3, k4 = stream, stream + streams, stream + 2 * streams, stream + 3 * streams
    if patch & (total > 0):
        k1 = tl.atomic_add(packed.count, total, sem="relaxed")
        k2 = k1 + n1
        k3 = k2 + n2
        k4 = k3 + n3
    t1, t2 = tl.where(c1, spare, num_roots + k1), num_roots + k2
    t3, t4 = num_roots + k3, num_roots + k4
    targets = (t1, t2, t3, t4)
    if c1:
        tl.store(tokens.root + at, spare)
        tl.store(tokens.spare + at, root)
    computed, ranks = (c1, c2, c3, c4), (k1, k2, k3, k4)
    follows, sources = (f1, f2, f3, f4), (s1, s2, s3, s4)
    for slot in tl.static_range(SLOTS):
        own = at + slot * grid
        # what stands for each token is its source's row
        tl.store(tokens.page + own, _pick(sources[slot], root, targets))
        tl.store(tokens.row_of + own, tl.where(computed[slot], ranks[slot], -1))
        tl.store(tokens.follows + own, follows[slot])
        _pack(
            SLOT=slot,
            computed=computed[slot],
            rank=ranks[slot],
            target=targets[slot],
            row=rows[slot],
            frame=stream + slot * streams,
            patch=patch,
            spare=spare,
            num_tokens=num_tokens,
            h_ptr=h_ptr,
            compared=compared,
            packed=packed,
            norm=norm,
            D=D,
            C=C,
            BLOCK_D=BLOCK_D,
            BLOCK_C=BLOCK_C,
        )
