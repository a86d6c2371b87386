"""The program of `kernels.decide_groups`: one per stream and position, over a group's slots."""

import triton
import triton.language as tl


@triton.jit
def _length(squares):
    return tl.sqrt(tl.sum(squares, 0)) + 1e-7


@triton.jit
def _decide(
    similarity,
    slot: tl.constexpr,
    kind: tl.constexpr,
    n,
    b,
    streams,
    rule,  # kernels.decide_groups.Rule
    N: tl.constexpr,
    H: tl.constexpr,
    BLOCK_H: tl.constexpr,
    HIDDEN: tl.constexpr,
):
    frame = (slot * streams + b).to(tl.int64)
    patch = frame * (N - 1) + n - 1
    if rule.forced is not None:
        reuse = tl.load(rule.forced + patch, mask=n > 0, other=0) != 0
    else:
        head = tl.arange(0, BLOCK_H)
        share = tl.load(rule.weights + (frame * H + head) * N + n, mask=head < H, other=0.0)
        unit = tl.arange(0, HIDDEN)
        hidden = tl.load(rule.decision + (3 + kind) * HIDDEN + unit)
        hidden += tl.load(rule.decision + unit) * tl.sum(share, 0)
        hidden += tl.load(rule.decision + HIDDEN + unit) * similarity
        if rule.cue is not None:
            cue = tl.load(rule.cue + patch, mask=n > 0, other=0.0).to(tl.float32)
            hidden += tl.load(rule.decision + 2 * HIDDEN + unit) * cue
        value = tl.sum(tl.maximum(hidden, 0.0) * tl.load(rule.decision + 6 * HIDDEN + unit), 0)
        reuse = value + tl.load(rule.decision + 7 * HIDDEN) > 0
    if rule.full is not None and slot == 0:
        reuse = reuse & (tl.load(rule.full + b) == 0)
    return reuse & (n > 0)


@triton.jit
def _emit(
    row_ptr,
    origin_ptr,
    reuse,
    slot,
    root,
    at_kept,
    at_reused,
    n,
    b,
    streams,
    starts,  # kernels.decide_groups.Starts
    packed,  # kernels.decide_groups.PackedGroups
    flag_ptr,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    d = tl.arange(0, BLOCK_D)
    x = tl.load(row_ptr + d, mask=d < D, other=0.0)
    frame = slot * streams + b
    after = (tl.load(starts.after + frame) + n).to(tl.int32)
    tl.store(flag_ptr, reuse.to(tl.int8))
    if reuse:
        start = tl.load(starts.cache + b)
        if root > 0:
            start = tl.load(starts.after + (root - 1) * streams + b)
        tl.store(packed.root + at_reused, (start + n).to(tl.int32))
        tl.store(packed.target + at_reused, after)
        if packed.difference is not None:
            row = packed.difference + at_reused.to(tl.int64) * D
            y = tl.load(origin_ptr + d, mask=d < D, other=0.0).to(tl.float32)
            change = (x.to(tl.float32) - y).to(packed.difference.dtype.element_ty)
            tl.store(row + d, change, mask=d < D)
    else:
        before = tl.load(starts.before + frame) + n
        tl.store(packed.before + at_kept, before.to(tl.int32))
        tl.store(packed.after + at_kept, after)
        row = packed.mixed + at_kept.to(tl.int64) * D
        tl.store(row + d, x, mask=d < D)


@triton.jit
def decide_groups_kernel(
    mixed_ptr,  # [S B N, D]
    cached_ptr,  # [B, N, D]
    sizes_ptr,  # [B]
    rule,  # kernels.decide_groups.Rule
    starts,  # kernels.decide_groups.Starts
    packed,  # kernels.decide_groups.PackedGroups
    streams,
    N: tl.constexpr,
    D: tl.constexpr,
    H: tl.constexpr,
    SLOTS: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_H: tl.constexpr,
    HIDDEN: tl.constexpr,
):
    # one program per stream and position: its cached row (root 0) and its S rows (roots 1 to S)
    at = tl.program_id(0).to(tl.int64)
    b = tl.program_id(0) // N
    n = tl.program_id(0) % N
    there = tl.minimum(tl.load(sizes_ptr + b), SLOTS)
    if there == 0:
        return
    step = tl.full((), N, tl.int64) * streams  # rows from slot to slot
    row0 = mixed_ptr + at * D
    row1 = row0 + (step * D if SLOTS > 1 else 0)
    row2 = row0 + (2 * step * D if SLOTS > 2 else 0)
    row3 = row0 + (3 * step * D if SLOTS > 3 else 0)
    cached = cached_ptr + at * D

    # rows of frames that are not there are not read
    D1, D2, D3 = tl.where(there > 1, D, 0), tl.where(there > 2, D, 0), tl.where(there > 3, D, 0)
    # all products at once, chunk by chunk, then the decisions on numbers alone
    zero = tl.zeros((BLOCK_C,), tl.float32)
    cc, c0, c1, c2, n0, n1, n2, n3 = zero, zero, zero, zero, zero, zero, zero, zero
    d10, d20, d21, d30, d31, c3 = zero, zero, zero, zero, zero, zero
    for start in tl.static_range(0, D, BLOCK_C):
        e = start + tl.arange(0, BLOCK_C)
        c = tl.load(cached + e, mask=e < D, other=0.0).to(tl.float32)
        p0 = tl.load(row0 + e, mask=e < D, other=0.0).to(tl.float32)
        cc += c * c
        n0 += p0 * p0
        c0 += p0 * c
        if SLOTS > 1:
            p1 = tl.load(row1 + e, mask=e < D1, other=0.0).to(tl.float32)
            n1 += p1 * p1
            c1 += p1 * c
            d10 += p1 * p0
        if SLOTS > 2:
            p2 = tl.load(row2 + e, mask=e < D2, other=0.0).to(tl.float32)
            n2 += p2 * p2
            c2 += p2 * c
            d20 += p2 * p0
            d21 += p2 * p1
        if SLOTS > 3:
            p3 = tl.load(row3 + e, mask=e < D3, other=0.0).to(tl.float32)
            n3 += p3 * p3
            c3 += p3 * c
            d30 += p3 * p0
            d31 += p3 * p1
    l_c = _length(cc)
    l0 = _length(n0)
    s_c0 = tl.sum(c0, 0) / (l0 * l_c)
    reuse0 = _decide(
        similarity=s_c0,
        slot=0,
        kind=0,
        n=n,
        b=b,
        streams=streams,
        rule=rule,
        N=N,
        H=H,
        BLOCK_H=BLOCK_H,
        HIDDEN=HIDDEN,
    )
    root0 = tl.where(reuse0, 0, 1)
    reuse1, reuse2, reuse3, root1, root2, root3 = reuse0, reuse0, reuse0, root0, root0, root0
    if SLOTS > 1:
        l1 = _length(n1)
        s_c1 = tl.sum(c1, 0) / (l1 * l_c)
        s_01 = tl.sum(d10, 0) / (l1 * l0)
        other = tl.where(root0 == 0, s_c1, s_01)
        reuse1 = _decide(
            similarity=tl.maximum(s_c1, other),
            slot=1,
            kind=1,
            n=n,
            b=b,
            streams=streams,
            rule=rule,
            N=N,
            H=H,
            BLOCK_H=BLOCK_H,
            HIDDEN=HIDDEN,
        )
        root1 = tl.where(reuse1, tl.where(other > s_c1, root0, 0), 2)
    if SLOTS > 2:
        l2 = _length(n2)
        s_c2 = tl.sum(c2, 0) / (l2 * l_c)
        s_02 = tl.sum(d20, 0) / (l2 * l0)
        s_12 = tl.sum(d21, 0) / (l2 * l1)
        other = tl.where(root1 == 0, s_c2, tl.where(root1 == 1, s_02, s_12))
        reuse2 = _decide(
            similarity=tl.maximum(s_c2, other),
            slot=2,
            kind=2,
            n=n,
            b=b,
            streams=streams,
            rule=rule,
            N=N,
            H=H,
            BLOCK_H=BLOCK_H,
            HIDDEN=HIDDEN,
        )
        root2 = tl.where(reuse2, tl.where(other > s_c2, root1, 0), 3)
    if SLOTS > 3:
        l3 = _length(n3)
        s_c3 = tl.sum(c3, 0) / (l3 * l_c)
        s_03 = tl.sum(d30, 0) / (l3 * l0)
        s_13 = tl.sum(d31, 0) / (l3 * l1)
        past = tl.where(root1 == 0, s_c3, tl.where(root1 == 1, s_03, s_13))
        other = tl.where(root0 == 0, s_c3, s_03)
        reuse3 = _decide(
            similarity=tl.maximum(past, other),
            slot=3,
            kind=2,
            n=n,
            b=b,
            streams=streams,
            rule=rule,
            N=N,
            H=H,
            BLOCK_H=BLOCK_H,
            HIDDEN=HIDDEN,
        )
        root3 = tl.where(reuse3, tl.where(other > past, root0, root1), 4)

    r0 = tl.where(reuse0 & (there > 0), 1, 0)
    r1 = r0 + tl.where(reuse1 & (there > 1), 1, 0)
    r2 = r1 + tl.where(reuse2 & (there > 2), 1, 0)
    num_reused = r2 + tl.where(reuse3 & (there > 3), 1, 0)
    kept = tl.atomic_add(packed.counts, there - num_reused)
    taken = tl.atomic_add(packed.counts + 1, num_reused)
    for slot in tl.static_range(SLOTS):
        if slot == 0:
            root, reuse, before = root0, reuse0, 0
        elif slot == 1:
            root, reuse, before = root1, reuse1, r0
        elif slot == 2:
            root, reuse, before = root2, reuse2, r1
        else:
            root, reuse, before = root3, reuse3, r2
        if there > slot:
            row = mixed_ptr + (at + slot * step) * D
            origin = cached
            if root > 0:
                origin = mixed_ptr + (at + (root - 1) * step) * D
            _emit(
                row_ptr=row,
                origin_ptr=origin,
                reuse=reuse,
                slot=slot,
                root=root,
                at_kept=kept + slot - before,
                at_reused=taken + before,
                n=n,
                b=b,
                streams=streams,
                starts=starts,
                packed=packed,
                flag_ptr=packed.reused + at + slot * step,
                D=D,
                BLOCK_D=BLOCK_D,
            )
    # last, since the differences start from the old cached row
    tl.debug_barrier()
    if (there > 0) & (root0 == 1):
        d = tl.arange(0, BLOCK_D)
        own = tl.load(row0 + d, mask=d < D, other=0.0)
        tl.store(cached + d, own, mask=d < D)
