"""The decisions of a whole group in one pass, its rows sorted into computed and reused ones."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from kernels.decide_groups_kernel import decide_groups_kernel
from kernels.launch import runs_triton
from kernels.select import select

HIDDEN = 256  # rows of hidden units hold this many, unused ones zero


class Starts(NamedTuple):
    """The table row of token 0 of each frame: int64 `[S, B]`, or `[B]` for the cache."""

    before: Tensor  # where the layer's hidden states lie
    after: Tensor  # where the next layer's go
    cache: Tensor  # the cached reference's, of the next layer


class PackedGroups(NamedTuple):
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
    ) -> "PackedGroups":
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


class Rule(NamedTuple):
    """What a decision is made from, beside the similarities."""

    weights: Tensor  # float32 [S B, H, N], the class tokens' attention
    decision: Tensor  # float32 [8, HIDDEN]
    cue: Tensor | None  # float32 [S B, N - 1]
    full: Tensor | None  # uint8 [B]
    forced: Tensor | None  # uint8 [S B, N - 1]


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


def decide_groups(
    mixed: Tensor,
    cached: Tensor,
    weights: Tensor,
    decision: Tensor,
    sizes: Tensor,
    starts: Starts,
    packed: PackedGroups,
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
        return decide_groups_reference(
            mixed, cached, weights, decision, sizes, starts, packed, cue, full, forced
        )
    heads = weights.shape[1]
    decide_groups_kernel[(streams * tokens,)](
        mixed_ptr=mixed,
        cached_ptr=cached,
        sizes_ptr=sizes,
        rule=Rule(weights, decision, cue, _bytes(full), _bytes(forced)),
        starts=starts,
        packed=packed,
        streams=streams,
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


def decide_groups_reference(
    mixed: Tensor,
    cached: Tensor,
    weights: Tensor,
    decision: Tensor,
    sizes: Tensor,
    starts: Starts,
    packed: PackedGroups,
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
