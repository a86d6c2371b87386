"""The early gate on the device: compare, decide, and pack the tokens that are still computed."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

from kernels.compare import choose_roots_reference
from kernels.launch import runs_triton


@dataclass(frozen=True, slots=True)
class Tokens:
    """Where each token of S slots and B streams stands; all of it is changed in place.

    Keys and values lie in a table of rows: the streams' roots and spare rows first, then one row
    for each packed row. What slot 0 computes takes the place of the root, whose row becomes spare.
    """

    row_of: Tensor  # int32 [S, B, N], its packed row; negative: not computed
    follows: Tensor  # int32 [S, B, N], the source that it follows, its own slot plus 1 if computed
    page: Tensor  # int32 [S, B, N], the table row of what stands for it
    root: Tensor  # int32 [B, N], the table row of the cached root
    spare: Tensor  # int32 [B, N], a table row that nothing refers to


@dataclass(frozen=True, slots=True)
class Packed:
    """The tokens computed at a layer, packed: class tokens first, then patches in any order."""

    normed: Tensor  # [P, D], LayerNorm of their hidden states
    origin: Tensor  # int32 [P], their rows before the gate
    target: Tensor  # int32 [P], their rows in the table
    queries: Tensor  # int32 [S B, N], the packed rows of each frame, its class token's first
    num_queries: Tensor  # int32 [S B], 1 before the gate
    count: Tensor  # int32 [1], S B before the gate


@dataclass(frozen=True, slots=True)
class Compared:
    """What a gate compares, and how far a root may be."""

    keys: Tensor  # [P, C] of the tokens computed so far: their hidden states, or made from them
    roots: Tensor  # [T, C], the same of the cached roots, by table row; changed in place
    limits: Tensor  # float32 [S, B, N], may be expanded; negative: always compute
    # limits times exp(weight . h / rms(h) + bias), the exponent kept in [-4, 4]
    weight: Tensor | None = None  # [D]
    bias: Tensor | None = None  # [4], by slot


def narrow(
    h: Tensor,
    compared: Compared,
    tokens: Tokens,
    packed: Packed,
    norm: tuple[Tensor, Tensor, float],
    references: Sequence[Sequence[int]],
) -> None:
    """Run one gate: decide by `choose_roots`, then pack the tokens that are still computed.

    Class tokens (position 0) are always computed; that of frame f gets packed row f, whether the
    frame is there or not. Keys of what becomes a root are copied into the roots.

    Args:
        h: `[P, D]` hidden states of the tokens computed so far.
        compared: what is compared, and the limits.
        tokens: what is known of each token.
        packed: filled.
        norm: weight and bias `[D]` of the layer's first LayerNorm, and its epsilon.
        references: for each slot one or two sources that it may follow, each before the slot.
    """
    slots, streams, num_tokens = tokens.row_of.shape
    keys, roots, limits = compared.keys, compared.roots, compared.limits
    if keys.shape[1:] != roots.shape[1:] or len(keys) != len(h) or keys.ndim != 2:
        raise ValueError(f"expected [P, C] and [T, C], got {keys.shape = }, {roots.shape = }")
    if limits.shape != tokens.row_of.shape or slots > min(4, len(references)):
        raise ValueError(f"expected [S, B, N], S <= 4, got {limits.shape = }")
    if not runs_triton(h):
        return narrow_reference(h, compared, tokens, packed, norm, references)
    weight, bias, eps = norm
    width, key_width = h.shape[1], keys.shape[1]
    _narrow_kernel[(streams * num_tokens,)](
        h,
        keys,
        roots,
        compared.weight,
        compared.bias,
        tokens.row_of,
        tokens.follows,
        tokens.page,
        tokens.root,
        tokens.spare,
        packed.normed,
        packed.origin,
        packed.target,
        packed.queries,
        packed.num_queries,
        packed.count,
        limits,
        weight,
        bias,
        eps,
        streams,
        num_tokens,
        roots.shape[0],
        *limits.stride(),
        D=width,
        C=key_width,
        SLOTS=slots,
        FIRST=sum(allowed[0] << 4 * slot for slot, allowed in enumerate(references)),
        SECOND=sum(allowed[-1] << 4 * slot for slot, allowed in enumerate(references)),
        BLOCK_D=triton.next_power_of_2(width),
        BLOCK_C=triton.next_power_of_2(key_width),
        num_warps=2,
    )
    return None


def narrow_reference(
    h: Tensor,
    compared: Compared,
    tokens: Tokens,
    packed: Packed,
    norm: tuple[Tensor, Tensor, float],
    references: Sequence[Sequence[int]],
) -> None:
    """Decide with `choose_roots_reference` and pack slot after slot."""
    slots, streams, num_tokens = tokens.row_of.shape
    keys, roots = compared.keys, compared.roots
    weight, bias, eps = norm
    known = tokens.row_of >= 0
    known[:, :, 0] = False
    limits = torch.full((len(h),), -1.0, device=h.device)
    limits[tokens.row_of[known].long()] = compared.limits[known]
    if compared.weight is not None and compared.bias is not None:
        rms = h.float().square().mean(1).add(1e-6).sqrt()
        raised = h.float() @ compared.weight.float() / rms
        slot = torch.zeros(len(h), dtype=torch.long, device=h.device)
        places = torch.arange(slots, device=h.device)[:, None, None].expand(known.shape)
        slot[tokens.row_of[known].long()] = places[known]
        limits = limits * (raised + compared.bias.float()[slot]).clamp(-4, 4).exp()
    follows, source = choose_roots_reference(
        keys, tokens.row_of, roots[tokens.root.long()], tokens.follows.to(torch.int8), limits,
        references[:slots],
    )  # fmt: skip
    own = torch.arange(1, slots + 1, device=h.device)[:, None, None]
    computed = (tokens.row_of >= 0) & (source == own)
    rank = torch.full_like(tokens.row_of, -1)
    patches = computed.clone()
    patches[:, :, 0] = False
    frames = slots * streams
    count = frames + int(patches.sum())
    rank[patches] = torch.arange(frames, count, dtype=torch.int32, device=h.device)
    rank[:, :, 0] = torch.arange(frames, device=h.device).view(slots, streams)
    target = rank + roots.shape[0]
    target[0] = tokens.spare.where(computed[0], target[0])
    kept = rank[computed].long()
    packed.origin[kept] = tokens.row_of[computed]
    states = h[tokens.row_of[computed].long()].float()
    normed = F.layer_norm(states, h.shape[1:], weight.float(), bias.float(), eps)
    packed.normed[kept] = normed.to(h.dtype)
    packed.target[rank[rank >= 0].long()] = target[rank >= 0]
    packed.count.fill_(count)
    listed = rank >= 0
    for frame, own_rows in enumerate(rank.view(frames, num_tokens)):
        own_rows = own_rows[listed.view(frames, num_tokens)[frame]]
        packed.queries[frame, : len(own_rows)] = own_rows
        packed.num_queries[frame] = len(own_rows)
    rows = torch.cat([tokens.root[None], target])
    tokens.page.copy_(rows.gather(0, source.long()))
    roots[tokens.spare[computed[0]].long()] = keys[tokens.row_of[0][computed[0]].long()]
    old = tokens.root.clone()
    tokens.root.copy_(tokens.spare.where(computed[0], old))
    tokens.spare.copy_(old.where(computed[0], tokens.spare))
    tokens.row_of.copy_(rank.where(computed, -1))
    tokens.follows.copy_(follows)


@triton.jit
def _pick(values, index, K: tl.constexpr):
    return tl.sum(tl.where(tl.arange(0, K) == index, values, 0))


@triton.jit
def _distance(own, source, row, root, keys_ptr, roots_ptr, offs_c, C: tl.constexpr):
    # the root of source 0 lies in the table, that of a slot among the packed rows
    cached_width = tl.where(source == 0, C, 0)
    inside_width = tl.where(source > 0, C, 0)
    cached = tl.load(roots_ptr + root * C + offs_c, mask=offs_c < cached_width, other=0.0)
    inside = tl.load(keys_ptr + row * C + offs_c, mask=offs_c < inside_width, other=0.0)
    change = own - (cached.to(tl.float32) + inside.to(tl.float32))
    return tl.sum(change * change)


@triton.jit
def _narrow_kernel(
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
    # one program per stream and position walks over the slots; vectors of 8 hold the sources
    at = tl.program_id(0)
    stream = at // num_tokens
    position = at % num_tokens
    k = tl.arange(0, 8)
    is_slot = (k >= 1) & (k <= SLOTS)
    grid_at = (k - 1) * streams * num_tokens + at
    row = tl.load(row_of_ptr + grid_at, mask=is_slot, other=-1)
    follows = tl.load(follows_ptr + grid_at, mask=is_slot, other=0)
    root = tl.load(root_ptr + at)
    spare = tl.load(spare_ptr + at)
    root_row = root.to(tl.int64)
    source = tl.zeros((8,), dtype=tl.int32)
    offs_d, offs_c = tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_C)
    inside_d = offs_d < D

    for slot in tl.static_range(SLOTS):
        own_row = _pick(row, slot + 1, 8).to(tl.int64)
        chosen = _pick(follows, slot + 1, 8)
        if (own_row >= 0) & (position > 0):
            limit = tl.load(
                limits_ptr
                + slot * limit_stride_s
                + stream * limit_stride_b
                + position * limit_stride_n
            )
            if learned_ptr is not None:
                state = tl.load(h_ptr + own_row * D + offs_d, mask=inside_d, other=0.0)
                state = state.to(tl.float32)
                learned = tl.load(learned_ptr + offs_d, mask=inside_d, other=0.0).to(tl.float32)
                raised = tl.sum(state * learned) * tl.rsqrt(tl.sum(state * state) / D + 1e-6)
                raised += tl.load(learned_bias_ptr + slot).to(tl.float32)
                limit *= tl.exp(tl.minimum(tl.maximum(raised, -4.0), 4.0))
            own = tl.load(keys_ptr + own_row * C + offs_c, mask=offs_c < C, other=0.0)
            own = own.to(tl.float32)
            nearest = tl.where(limit >= 0, tl.sum(own * own) * limit * limit, -1.0)
            chosen = slot + 1
            first: tl.constexpr = (FIRST >> (4 * slot)) & 15
            second: tl.constexpr = (SECOND >> (4 * slot)) & 15
            origin = _pick(source, first, 8)
            near = _pick(row, origin, 8).to(tl.int64)
            distance = _distance(own, origin, near, root_row, keys_ptr, roots_ptr, offs_c, C)
            if distance <= nearest:
                chosen = first
                nearest = distance
            if second != first:
                origin = _pick(source, second, 8)
                near = _pick(row, origin, 8).to(tl.int64)
                distance = _distance(own, origin, near, root_row, keys_ptr, roots_ptr, offs_c, C)
                if (distance < nearest) | ((distance == nearest) & (chosen == slot + 1)):
                    chosen = second
        resolved = tl.where(chosen == slot + 1, slot + 1, _pick(source, chosen, 8))
        follows = tl.where(k == slot + 1, chosen, follows)
        source = tl.where(k == slot + 1, resolved, source)

    computed = is_slot & (source == k) & (row >= 0)
    ones = computed.to(tl.int32)
    frame = (k - 1) * streams + stream
    total = tl.sum(ones)
    if position == 0:
        rank = frame
        place = tl.zeros((8,), dtype=tl.int32)
    else:
        base = 0
        if total > 0:
            base = tl.atomic_add(count_ptr, total, sem="relaxed")
        rank = base + tl.cumsum(ones, 0) - ones
        place = tl.atomic_add(num_queries_ptr + frame, 1, mask=computed, sem="relaxed")
    listed = tl.where(position == 0, is_slot, computed)
    target = tl.where((k == 1) & computed, spare, num_roots + rank)
    tl.store(target_ptr + rank, target, mask=listed)
    tl.store(queries_ptr + frame * num_tokens + place, rank, mask=listed)
    tl.store(origin_ptr + rank, row, mask=computed)
    # what stands for each token: its source's row
    stands = tl.where(k == 0, root, target)
    page = tl.sum(tl.where(source[:, None] == k[None, :], stands[None, :], 0), 1)
    tl.store(page_ptr + grid_at, page, mask=is_slot)
    tl.store(row_of_ptr + grid_at, tl.where(computed, rank, -1), mask=is_slot)
    tl.store(follows_ptr + grid_at, follows, mask=is_slot)
    if _pick(ones, 1, 8) > 0:
        tl.store(root_ptr + at, spare)
        tl.store(spare_ptr + at, root)

    if total > 0:
        weight = tl.load(weight_ptr + offs_d, mask=inside_d, other=0.0).to(tl.float32)
        bias = tl.load(bias_ptr + offs_d, mask=inside_d, other=0.0).to(tl.float32)
        for slot in tl.static_range(SLOTS):
            if _pick(ones, slot + 1, 8) > 0:
                own_row = _pick(row, slot + 1, 8).to(tl.int64)
                own = tl.load(h_ptr + own_row * D + offs_d, mask=inside_d, other=0.0)
                own = own.to(tl.float32)
                mean = tl.sum(own) / D
                centred = tl.where(inside_d, own - mean, 0.0)
                scale = tl.rsqrt(tl.sum(centred * centred) / D + eps)
                normed = (centred * scale * weight + bias).to(normed_ptr.dtype.element_ty)
                new_row = _pick(rank, slot + 1, 8).to(tl.int64)
                tl.store(normed_ptr + new_row * D + offs_d, normed, mask=inside_d)
                if slot == 0:
                    key = tl.load(keys_ptr + own_row * C + offs_c, mask=offs_c < C, other=0.0)
                    tl.store(roots_ptr + spare.to(tl.int64) * C + offs_c, key, mask=offs_c < C)
