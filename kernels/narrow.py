"""The early gate on the device: compare, decide, and pack the tokens that are still computed."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
from torch import Tensor
from torch.nn import functional as F

from kernels.compare import choose_roots_reference
from kernels.eight import fit_rows
from kernels.launch import runs_triton
from kernels.narrow_kernel import narrow_kernel


class Tokens(NamedTuple):
    """Where each token of S slots and B streams stands; all of it is changed in place.

    Keys and values lie in a table of rows: the streams' roots and spare rows first, then one row
    for each packed row. What slot 0 computes takes the place of the root, whose row becomes spare.
    """

    row_of: Tensor  # int32 [S, B, N], its packed row; negative: not computed
    follows: Tensor  # int32 [S, B, N], the source that it follows, its own slot plus 1 if computed
    page: Tensor  # int32 [S, B, N], the table row of what stands for it
    root: Tensor  # int32 [B, N], the table row of the cached root
    spare: Tensor  # int32 [B, N], a table row that nothing refers to


class PackedRows(NamedTuple):
    """The tokens computed at a layer, packed: class tokens first, then patches in any order."""

    normed: Tensor  # [P, D], LayerNorm of their hidden states
    units: Tensor | None  # float32 [P], what 1 in each of these is worth, where they are e4m3
    origin: Tensor  # int32 [P], their rows before the gate
    target: Tensor  # int32 [P], their rows in the table
    queries: Tensor  # int32 [S B, N], the packed rows of each frame, its class token's first
    num_queries: Tensor  # int32 [S B], 1 before the gate
    count: Tensor  # int32 [1], S B before the gate


class Compared(NamedTuple):
    """What a gate compares, and how far a root may be."""

    keys: Tensor  # [P, C] of the tokens computed so far: their hidden states, or made from them
    roots: Tensor  # [T, C], the same of the cached roots, by table row; changed in place
    limits: Tensor  # float32 [S, B, N], may be expanded; negative: always compute
    # limits times exp(weight . h / rms(h) + bias), the exponent kept in [-4, 4]
    weight: Tensor | None = None  # [D]
    bias: Tensor | None = None  # [4], by slot


class Norm(NamedTuple):
    """A LayerNorm."""

    weight: Tensor  # [D]
    bias: Tensor  # [D]
    eps: float


def narrow(
    h: Tensor,
    compared: Compared,
    tokens: Tokens,
    packed: PackedRows,
    norm: Norm,
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
        norm: the layer's first.
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
    width, key_width = h.shape[1], keys.shape[1]
    narrow_kernel[(streams * num_tokens,)](
        h_ptr=h,
        compared=compared,
        limit_strides=limits.stride(),
        tokens=tokens,
        packed=packed,
        norm=norm,
        streams=streams,
        num_tokens=num_tokens,
        num_roots=roots.shape[0],
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
    packed: PackedRows,
    norm: Norm,
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
        keys,
        tokens.row_of,
        roots[tokens.root.long()],
        tokens.follows.to(torch.int8),
        limits,
        references[:slots],
    )
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
    if packed.units is not None:
        normed, units = fit_rows(normed)
        packed.units[kept] = units[:, 0]
    packed.normed[kept] = normed.to(packed.normed.dtype)
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
