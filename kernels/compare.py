"""Which root each token follows: the early gate's comparison along the frames of a group."""

from collections.abc import Sequence

import torch
from torch import Tensor

CACHE = 0  # source of a token whose root was left by an earlier step; slot s is source s + 1


def choose_roots(
    rows: Tensor,
    row_of: Tensor,
    roots: Tensor,
    follows: Tensor,
    limits: Tensor,
    references: Sequence[Sequence[int]],
) -> tuple[Tensor, Tensor]:
    """Decide, slot after slot, which tokens take a root and which are computed.

    Sources are numbered 0 for the cached root and s + 1 for slot s. A token that is still computed
    follows itself. Once it follows another frame it does so in all later layers, because its hidden
    state is that frame's from there on; what that frame itself took may change from layer to layer.

    Args:
        rows: `[R, C]` what is compared, of the tokens computed so far, any order.
        row_of: int32 `[S, B, N]`, each token's row in `rows`; negative where it has none.
        roots: `[B, N, C]` the same of the cached roots.
        follows: int8 `[S, B, N]`, the source that each token follows up to now.
        limits: float32 `[R]`, largest relative difference that is reused; negative: compute.
        references: for each slot the sources that it may follow; the first wins ties.

    Returns:
        `follows` after this gate, and the resolved `source` int8 `[S, B, N]`: whose row of this
        layer stands for the token. A token is computed where its source is its own slot's.
    """
    if rows.ndim != 2 or roots.ndim != 3 or rows.shape[1] != roots.shape[2]:
        raise ValueError(f"expected [R, C] and [B, N, C], got {rows.shape = }, {roots.shape = }")
    shape = (len(references), *roots.shape[:2])
    if not row_of.shape == follows.shape == shape or limits.shape != rows.shape[:1]:
        raise ValueError(
            f"expected {shape = } and [R], got {row_of.shape = }, {follows.shape = }, "
            f"{limits.shape = }"
        )
    return choose_roots_reference(rows, row_of, roots, follows, limits, references)


def choose_roots_reference(
    rows: Tensor,
    row_of: Tensor,
    roots: Tensor,
    follows: Tensor,
    limits: Tensor,
    references: Sequence[Sequence[int]],
) -> tuple[Tensor, Tensor]:
    """Compare `|x - root|` with `limit * |x|`, the root of reference r being `x[source[r]]`.

    A token follows the reference whose root is nearest, if that is near enough, else itself.
    """
    slots, streams, tokens = follows.shape
    flat, place = roots.reshape(streams * tokens, -1), row_of.view(slots, -1)
    follows = follows.clone().view(slots, -1)
    source = torch.zeros(slots + 1, streams * tokens, dtype=torch.int8, device=rows.device)
    allowed = limits.square().where(limits >= 0, -1.0) * rows.float().square().sum(1)
    for slot, candidates in enumerate(references):
        at = (place[slot] >= 0).nonzero().squeeze(1)  # positions b * N + n still computed
        at = at[allowed[place[slot, at].long()] >= 0]
        row = place[slot, at].long()
        nearest, chosen = allowed[row], torch.full_like(at, slot + 1)
        tried: list[Tensor] = []
        for reference in candidates:
            origin = source[reference, at]
            new = torch.ones_like(at, dtype=torch.bool)
            for other in tried:
                new &= origin != other
            pick = new.nonzero().squeeze(1)
            root = _take(flat, rows, place, origin[pick], at[pick])
            distance = (rows.index_select(0, row[pick]).float() - root).square().sum(1)
            # a first candidate may stand exactly at the limit, a second must be nearer
            best, free = nearest[pick], chosen[pick] == slot + 1
            nearer = (distance < best) | (free & (distance == best))
            nearest[pick] = distance.where(nearer, best)
            chosen[pick] = chosen[pick].masked_fill(nearer, reference)
            tried.append(origin)
        follows[slot, at] = chosen.to(torch.int8)
        source[slot + 1] = slot + 1
        source[slot + 1] = source.gather(0, follows[slot].long()[None])[0]
    shape = (slots, streams, tokens)
    return follows.view(shape), source[1:].view(shape)


def _take(flat: Tensor, rows: Tensor, place: Tensor, origin: Tensor, at: Tensor) -> Tensor:
    """Rows `[n, C]` of the sources `origin` at positions `at`, from the cache and the group."""
    taken = flat.index_select(0, at).float()
    inside = (origin > CACHE).nonzero().squeeze(1)
    if len(inside):
        slots = origin[inside].long() - 1
        taken[inside] = rows.index_select(0, place[slots, at[inside]].long()).float()
    return taken
