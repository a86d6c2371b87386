"""The decisions of a whole group in one pass, its rows sorted into computed and reused ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.launch import runs_triton
from kernels.select import select

HIDDEN = 256  # rows of hidden units hold this many, unused ones zero


@dataclass(frozen=True, slots=True)
class Starts:
    """The table row of token 0 of each frame: int64 `[S, B]`, or `[B]` for the cache."""

    before: Tensor  # where the layer's hidden states lie
    after: Tensor  # where the next layer's go
    cache: Tensor  # the cached reference's, of the next layer


@dataclass(frozen=True, slots=True)
class Packed:
    """Computed tokens and reused ones, packed in any order; `[M]` and `[M, D]`, M = S B N."""

    counts: Tensor  # int32 [2], computed and reused; zero before the call
    mixed: Tensor  # [M, D] pre-projections of the computed
    before: Tensor  # int32 [M], their table rows before the layer's end
    after: Tensor  # int32 [M], and behind it
    difference: Tensor | None  # [M, D], of the reused ones' pre-projections from their roots'
    root: Tensor  # int32 [M], the table rows that the reused take
    target: Tensor  # int32 [M], and where they go
    reused: Tensor  # int8 [S, B, N], 1 where reused; zero before the call

    @classmethod
    def empty(
        cls, slots: int, streams: int, tokens: int, like: Tensor, *, differences: bool = True
    ) -> "Packed":
        """Room for a group of `[S, B, N]` tokens as wide and of the type of `like` `[*, D]`."""
        rows, device = slots * streams * tokens, like.device
        integers = [torch.empty(rows, dtype=torch.int32, device=device) for _ in range(4)]
        return cls(
            torch.zeros(2, dtype=torch.int32, device=device),
            like.new_empty(rows, like.shape[1]),
            integers[0],
            integers[1],
            like.new_empty(rows, like.shape[1]) if differences else None,
            integers[2],
            integers[3],
            torch.zeros(slots, streams, tokens, dtype=torch.int8, device=device),
        )


def pack_decision(layers: Sequence[tuple[Tensor, Tensor]], bias: float = 0.0) -> Tensor:
    """Lay a decision net of two layers (see `select`) out as float32 `[8, HIDDEN]`."""
    if len(layers) != 2 or layers[0][0].shape[0] > HIDDEN or layers[0][0].shape[1] != 6:
        shapes = [tuple(weight.shape) for weight, _ in layers]
        raise ValueError(f"expected a decision of 6 inputs and one hidden layer, got {shapes}")
    (first, offset), (last, final) = layers
    packed = torch.zeros(8, HIDDEN, device=first.device)
    hidden = first.shape[0]
    packed[:3, :hidden] = first[:, :3].T
    packed[3:6, :hidden] = first[:, 3:].T + offset
    packed[6, :hidden] = last[0] - last[1]
    packed[7] = final[0] - final[1] + bias
    return packed


def chain(
    mixed: Tensor,
    cached: Tensor,
    weights: Tensor,
    decision: Tensor,
    sizes: Tensor,
    starts: Starts,
    packed: Packed,
    *,
    cue: Tensor | None = None,
    full: Tensor | None = None,
    forced: Tensor | None = None,
) -> None:
    """Decide for every token of a group, fill `packed`, and bring the cache up to date.

    The decisions are those of `select` with one leading class token, which is always computed.

    Args:
        mixed: pre-projections `[S B N, D]`, slot by slot, stream by stream; S is 1 to 4.
        cached: pre-projections `[B, N, D]` of the cached frames; slot 0's take their place.
        weights: float32 `[S B, H, N]`, the class tokens' attention.
        decision: float32 `[8, HIDDEN]`, from `pack_decision`.
        sizes: int32 `[B]`, frames of each stream in this group; its later slots are left out.
        starts: where the table keeps each frame.
        packed: what is filled.
        cue: float32 `[S B, N - 1]`, or None for zeros.
        full: bool `[B]`, streams of which nothing is reused in slot 0.
        forced: bool `[S B, N - 1]`, True reuses: decisions made elsewhere.
    """
    streams, tokens, width = cached.shape
    slots = packed.reused.shape[0]
    if mixed.shape != (slots * streams * tokens, width) or not 1 <= slots <= 4:
        raise ValueError(f"expected [S B N, D] and [B, N, D], got {mixed.shape = }, {cached.shape}")
    if not runs_triton(mixed):
        return chain_reference(
            mixed, cached, weights, decision, sizes, starts, packed, cue, full, forced
        )
    heads = weights.shape[1]
    _chain_kernel[(streams * tokens,)](
        mixed,
        cached,
        weights,
        decision,
        sizes,
        cue,
        _bytes(full),
        _bytes(forced),
        starts.before,
        starts.after,
        starts.cache,
        packed.counts,
        packed.mixed,
        packed.before,
        packed.after,
        packed.difference,
        packed.root,
        packed.target,
        packed.reused,
        streams,
        N=tokens,
        D=width,
        H=heads,
        SLOTS=slots,
        BLOCK_D=triton.next_power_of_2(width),
        BLOCK_C=min(256, triton.next_power_of_2(width)),
        BLOCK_H=triton.next_power_of_2(heads),
        HIDDEN=HIDDEN,
        num_warps=1,
    )
    return None


def chain_reference(
    mixed: Tensor,
    cached: Tensor,
    weights: Tensor,
    decision: Tensor,
    sizes: Tensor,
    starts: Starts,
    packed: Packed,
    cue: Tensor | None,
    full: Tensor | None,
    forced: Tensor | None,
) -> None:
    """Define it by `select`: computed tokens name themselves, reused ones their chain's root."""
    streams, tokens, width = cached.shape
    slots = packed.reused.shape[0]
    table = torch.cat([cached.view(-1, width), mixed])  # [(1 + S) B N, D]
    roots = select(
        table.view(-1, tokens, width),
        weights.sum(1),
        cue,
        _unpack(decision),
        counts=[streams] * slots,
        fixed=1,
        full=full,
        forced=forced,
    ).roots.view(-1)
    own = torch.arange(streams * tokens, len(table), device=mixed.device)
    there = torch.arange(slots, device=mixed.device)[:, None] < sizes  # [S, B]
    there = there[..., None].expand(-1, -1, tokens).reshape(-1)
    kept = ((roots == own) & there).nonzero().squeeze(1)
    taken = ((roots != own) & there).nonzero().squeeze(1)
    root = roots.long()[taken]
    place = torch.arange(tokens, device=mixed.device)
    after = (torch.cat([starts.cache[None], starts.after])[..., None] + place).view(-1)
    before = (starts.before[..., None] + place).view(-1)
    packed.counts.copy_(torch.tensor([len(kept), len(taken)]))
    packed.mixed[: len(kept)] = mixed[kept]
    packed.before[: len(kept)] = before[kept].int()
    packed.after[: len(kept)] = after[own[kept]].int()
    if packed.difference is not None:
        difference = mixed[taken].float() - table[root].float()
        packed.difference[: len(taken)] = difference.to(mixed.dtype)
    packed.root[: len(taken)] = after[root].int()
    packed.target[: len(taken)] = after[own[taken]].int()
    packed.reused.view(-1).zero_()[taken] = 1
    first = kept[kept < streams * tokens]
    cached.view(-1, width)[first] = mixed[first]


def _bytes(flags: Tensor | None) -> Tensor | None:
    return None if flags is None else flags.view(torch.uint8)


def _unpack(decision: Tensor) -> list[tuple[Tensor, Tensor]]:
    zero = torch.zeros_like(decision[6])
    return [
        (decision[:6].T, zero),
        (torch.stack([decision[6], zero]), torch.stack([decision[7, 0], zero[0]])),
    ]


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
    weights_ptr,
    decision_ptr,
    cue_ptr,
    full_ptr,
    forced_ptr,
    N: tl.constexpr,
    H: tl.constexpr,
    BLOCK_H: tl.constexpr,
    HIDDEN: tl.constexpr,
):
    frame = (slot * streams + b).to(tl.int64)
    patch = frame * (N - 1) + n - 1
    if forced_ptr is not None:
        reuse = tl.load(forced_ptr + patch, mask=n > 0, other=0) != 0
    else:
        head = tl.arange(0, BLOCK_H)
        share = tl.load(weights_ptr + (frame * H + head) * N + n, mask=head < H, other=0.0)
        unit = tl.arange(0, HIDDEN)
        hidden = tl.load(decision_ptr + (3 + kind) * HIDDEN + unit)
        hidden += tl.load(decision_ptr + unit) * tl.sum(share, 0)
        hidden += tl.load(decision_ptr + HIDDEN + unit) * similarity
        if cue_ptr is not None:
            cue = tl.load(cue_ptr + patch, mask=n > 0, other=0.0).to(tl.float32)
            hidden += tl.load(decision_ptr + 2 * HIDDEN + unit) * cue
        value = tl.sum(tl.maximum(hidden, 0.0) * tl.load(decision_ptr + 6 * HIDDEN + unit), 0)
        reuse = value + tl.load(decision_ptr + 7 * HIDDEN) > 0
    if full_ptr is not None and slot == 0:
        reuse = reuse & (tl.load(full_ptr + b) == 0)
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
    starts_before_ptr,
    starts_after_ptr,
    starts_cache_ptr,
    mixed_ptr,
    before_ptr,
    after_ptr,
    difference_ptr,
    root_ptr,
    target_ptr,
    flag_ptr,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    d = tl.arange(0, BLOCK_D)
    x = tl.load(row_ptr + d, mask=d < D, other=0.0)
    frame = slot * streams + b
    after = (tl.load(starts_after_ptr + frame) + n).to(tl.int32)
    tl.store(flag_ptr, reuse.to(tl.int8))
    if reuse:
        start = tl.load(starts_cache_ptr + b)
        if root > 0:
            start = tl.load(starts_after_ptr + (root - 1) * streams + b)
        tl.store(root_ptr + at_reused, (start + n).to(tl.int32))
        tl.store(target_ptr + at_reused, after)
        if difference_ptr is not None:
            row = difference_ptr + at_reused.to(tl.int64) * D
            y = tl.load(origin_ptr + d, mask=d < D, other=0.0).to(tl.float32)
            change = (x.to(tl.float32) - y).to(difference_ptr.dtype.element_ty)
            tl.store(row + d, change, mask=d < D)
    else:
        before = tl.load(starts_before_ptr + frame) + n
        tl.store(before_ptr + at_kept, before.to(tl.int32))
        tl.store(after_ptr + at_kept, after)
        row = mixed_ptr + at_kept.to(tl.int64) * D
        tl.store(row + d, x, mask=d < D)


@triton.jit
def _chain_kernel(
    in_ptr,  # [S B N, D]
    cached_ptr,  # [B, N, D]
    weights_ptr,  # [S B, H, N]
    decision_ptr,  # [8, HIDDEN]
    sizes_ptr,  # [B]
    cue_ptr,  # [S B, N - 1] or None
    full_ptr,  # [B] or None
    forced_ptr,  # [S B, N - 1] or None
    starts_before_ptr,  # [S, B]
    starts_after_ptr,  # [S, B]
    starts_cache_ptr,  # [B]
    counts_ptr,  # [2]
    mixed_ptr,  # [M, D]
    before_ptr,  # [M]
    after_ptr,  # [M]
    difference_ptr,  # [M, D] or None
    root_ptr,  # [M]
    target_ptr,  # [M]
    reused_ptr,  # [S, B, N]
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
    step = tl.full((), N, tl.int64) * streams  # rows from slot to slot
    row0 = in_ptr + at * D
    row1 = row0 + (step * D if SLOTS > 1 else 0)
    row2 = row0 + (2 * step * D if SLOTS > 2 else 0)
    row3 = row0 + (3 * step * D if SLOTS > 3 else 0)
    cached = cached_ptr + at * D

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
            p1 = tl.load(row1 + e, mask=e < D, other=0.0).to(tl.float32)
            n1 += p1 * p1
            c1 += p1 * c
            d10 += p1 * p0
        if SLOTS > 2:
            p2 = tl.load(row2 + e, mask=e < D, other=0.0).to(tl.float32)
            n2 += p2 * p2
            c2 += p2 * c
            d20 += p2 * p0
            d21 += p2 * p1
        if SLOTS > 3:
            p3 = tl.load(row3 + e, mask=e < D, other=0.0).to(tl.float32)
            n3 += p3 * p3
            c3 += p3 * c
            d30 += p3 * p0
            d31 += p3 * p1
    l_c = _length(cc)
    l0 = _length(n0)
    s_c0 = tl.sum(c0, 0) / (l0 * l_c)
    reuse0 = _decide(
        s_c0, 0, 0, n, b, streams, weights_ptr, decision_ptr, cue_ptr, full_ptr, forced_ptr,
        N, H, BLOCK_H, HIDDEN,
    )  # fmt: skip
    root0 = tl.where(reuse0, 0, 1)
    reuse1, reuse2, reuse3, root1, root2, root3 = reuse0, reuse0, reuse0, root0, root0, root0
    if SLOTS > 1:
        l1 = _length(n1)
        s_c1 = tl.sum(c1, 0) / (l1 * l_c)
        s_01 = tl.sum(d10, 0) / (l1 * l0)
        other = tl.where(root0 == 0, s_c1, s_01)
        reuse1 = _decide(
            tl.maximum(s_c1, other), 1, 1, n, b, streams, weights_ptr, decision_ptr, cue_ptr,
            full_ptr, forced_ptr, N, H, BLOCK_H, HIDDEN,
        )  # fmt: skip
        root1 = tl.where(reuse1, tl.where(other > s_c1, root0, 0), 2)
    if SLOTS > 2:
        l2 = _length(n2)
        s_c2 = tl.sum(c2, 0) / (l2 * l_c)
        s_02 = tl.sum(d20, 0) / (l2 * l0)
        s_12 = tl.sum(d21, 0) / (l2 * l1)
        other = tl.where(root1 == 0, s_c2, tl.where(root1 == 1, s_02, s_12))
        reuse2 = _decide(
            tl.maximum(s_c2, other), 2, 2, n, b, streams, weights_ptr, decision_ptr, cue_ptr,
            full_ptr, forced_ptr, N, H, BLOCK_H, HIDDEN,
        )  # fmt: skip
        root2 = tl.where(reuse2, tl.where(other > s_c2, root1, 0), 3)
    if SLOTS > 3:
        l3 = _length(n3)
        s_c3 = tl.sum(c3, 0) / (l3 * l_c)
        s_03 = tl.sum(d30, 0) / (l3 * l0)
        s_13 = tl.sum(d31, 0) / (l3 * l1)
        past = tl.where(root1 == 0, s_c3, tl.where(root1 == 1, s_03, s_13))
        other = tl.where(root0 == 0, s_c3, s_03)
        reuse3 = _decide(
            tl.maximum(past, other), 3, 2, n, b, streams, weights_ptr, decision_ptr, cue_ptr,
            full_ptr, forced_ptr, N, H, BLOCK_H, HIDDEN,
        )  # fmt: skip
        root3 = tl.where(reuse3, tl.where(other > past, root0, root1), 4)

    there = tl.minimum(tl.load(sizes_ptr + b), SLOTS)
    r0 = tl.where(reuse0 & (there > 0), 1, 0)
    r1 = r0 + tl.where(reuse1 & (there > 1), 1, 0)
    r2 = r1 + tl.where(reuse2 & (there > 2), 1, 0)
    num_reused = r2 + tl.where(reuse3 & (there > 3), 1, 0)
    kept = tl.atomic_add(counts_ptr, there - num_reused)
    taken = tl.atomic_add(counts_ptr + 1, num_reused)
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
            row = in_ptr + (at + slot * step) * D
            origin = cached
            if root > 0:
                origin = in_ptr + (at + (root - 1) * step) * D
            _emit(
                row, origin, reuse, slot, root, kept + slot - before, taken + before, n, b, streams,
                starts_before_ptr, starts_after_ptr, starts_cache_ptr, mixed_ptr, before_ptr,
                after_ptr, difference_ptr, root_ptr, target_ptr, reused_ptr + at + slot * step,
                D, BLOCK_D,
            )  # fmt: skip
    # last, since the differences start from the old cached row
    tl.debug_barrier()
    if (there > 0) & (root0 == 1):
        d = tl.arange(0, BLOCK_D)
        own = tl.load(row0 + d, mask=d < D, other=0.0)
        tl.store(cached + d, own, mask=d < D)
