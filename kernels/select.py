"""Which tokens of a group of frames take their layer's result from a reference at their place."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

CACHE = -1  # the reference that the last group left
# slot by slot: what it may refer to (the past one first, it wins ties), and how near that is
REFERENCES: tuple[tuple[int, ...], ...] = ((CACHE,), (CACHE, 0), (CACHE, 1), (1, 0))
KINDS = (0, 1, 2, 2)
EPS = 1e-7


@dataclass(frozen=True, slots=True)
class ChosenRoots:
    """Row numbers into the tables `[B + T, N]`; a computed token names itself in both."""

    roots: Tensor  # int32 [T, N], the computed or cached row where the token's chain starts
    sources: Tensor  # int32 [T, N], the reference that it was compared with, itself maybe reused


def select(
    mixed: Tensor,
    importance: Tensor,
    cue: Tensor | None,
    layers: Sequence[tuple[Tensor, Tensor]],
    *,
    counts: Sequence[int],
    fixed: int,
    full: Tensor | None = None,
    bias: float = 0.0,
    forced: Tensor | None = None,
) -> ChosenRoots:
    """Decide slot by slot, each against the references left by the slots before it.

    Frames lie slot by slot, `counts[s]` streams in slot `s`, the first ones of all B streams, and
    `T = sum(counts)`. Tables hold the B cached references first, then the T frames, so that token
    `n` of frame `t` has row `(B + t) * N + n` and rows under `B * N` are the cache's.

    Args:
        mixed: pre-projections `[B + T, N, D]`, cached ones first.
        importance: `[T, N]`.
        cue: `[T, N - fixed]`, or None for zeros.
        layers: float32 weights `[O, I]` and biases `[O]` of the decision, 6 inputs (importance,
            similarity, cue, one of three kinds), ReLU between, 2 outputs (reuse, compute).
        counts: streams in each of 1 to 4 slots, none more than in the slot before.
        fixed: leading tokens that are never reused: 1 for a class token, else 0.
        full: bool `[B]`, streams of which nothing is reused in slot 0.
        bias: added to the reuse output; `inf` reuses every patch, `-inf` none.
        forced: bool `[T, N - fixed]`, True reuses: decisions made elsewhere.
    """
    if mixed.ndim != 3 or mixed.shape[0] != counts[0] + sum(counts):
        raise ValueError(f"expected [B + T, N, D] for {counts = }, got {mixed.shape = }")
    if len(counts) > len(REFERENCES) or list(counts) != sorted(counts, reverse=True):
        raise ValueError(f"expected 1 to 4 counts, none above the one before, got {counts = }")
    return select_reference(
        mixed, importance, cue, layers, counts, fixed, full=full, bias=bias, forced=forced
    )


def select_reference(
    mixed: Tensor,
    importance: Tensor,
    cue: Tensor | None,
    layers: Sequence[tuple[Tensor, Tensor]],
    counts: Sequence[int],
    fixed: int,
    *,
    full: Tensor | None = None,
    bias: float = 0.0,
    forced: Tensor | None = None,
) -> ChosenRoots:
    """Compare, pick the nearer reference, decide.

    A reused token stands for its root from then on: later slots compare with the root's P. So the
    candidates at a place are the cached row and the rows computed in earlier slots, and each
    similarity `<u(P), u(P_root)>`, `u(x) = x / (|x| + 1e-7)`, is needed at most once.
    """
    streams, tokens = counts[0], mixed.shape[1]
    starts = [streams + sum(counts[:slot]) for slot in range(len(counts))]
    lengths = torch.linalg.vector_norm(mixed, dim=-1, dtype=torch.float32) + EPS  # [B + T, N]
    place = torch.arange(tokens, device=mixed.device, dtype=torch.int32)
    own = torch.arange(mixed.shape[0], device=mixed.device, dtype=torch.int32)[:, None] * tokens
    own = own + place  # [B + T, N], every row's number
    roots = own[streams:].clone()
    sources = own[streams:].clone()
    for slot, start in enumerate(starts):
        count = counts[slot]
        frames = slice(start, start + count)
        found: list[tuple[Tensor, Tensor, Tensor]] = []  # similarity, source, root of a reference
        for reference in REFERENCES[slot]:
            first = 0 if reference == CACHE else starts[reference]
            source = own[first : first + count]
            root = (
                source if reference == CACHE else roots[first - streams : first - streams + count]
            )
            found.append((_similarity(mixed, lengths, frames, root), source, root))
        similarity, source, root = found[0]
        for other, other_source, other_root in found[1:]:
            nearer = other > similarity
            similarity = torch.where(nearer, other, similarity)
            source = torch.where(nearer, other_source, source)
            root = torch.where(nearer, other_root, root)
        rows = slice(start - streams, start - streams + count)
        if forced is None:
            cues = torch.zeros_like(similarity[:, fixed:]) if cue is None else cue[rows]
            kind = KINDS[slot]
            patches = (importance[rows, fixed:], similarity[:, fixed:], cues)
            reuse = decide(*patches, kind, layers) + bias > 0
        else:
            reuse = forced[rows]
        if full is not None and slot == 0:
            reuse = reuse & ~full[:, None]
        roots[rows, fixed:] = torch.where(reuse, root[:, fixed:], roots[rows, fixed:])
        sources[rows, fixed:] = torch.where(reuse, source[:, fixed:], sources[rows, fixed:])
    return ChosenRoots(roots, sources)


def decide(
    importance: Tensor,
    similarity: Tensor,
    cue: Tensor,
    kind: int,
    layers: Sequence[tuple[Tensor, Tensor]],
) -> Tensor:
    """How far the logit of reuse exceeds that of computing, float32 `[B, N]` as its inputs."""
    values = torch.stack([importance.float(), similarity, cue.float()], -1)
    weight, offset = layers[0]
    values = values @ weight[:, :3].T + (offset + weight[:, 3 + kind])
    for weight, offset in layers[1:-1]:
        values = values.relu_() @ weight.T + offset
    weight, offset = layers[-1]
    return values.relu_() @ (weight[0] - weight[1]) + (offset[0] - offset[1])


def _similarity(mixed: Tensor, lengths: Tensor, frames: slice, roots: Tensor) -> Tensor:
    """Cosines `[B, N]` between the tokens of some frames and the rows `roots` at their places."""
    rows = roots.reshape(-1)
    theirs = mixed.flatten(0, 1).index_select(0, rows).view_as(mixed[frames])
    dots = torch.linalg.vecdot(mixed[frames].float(), theirs.float())
    return dots / (lengths[frames] * lengths.flatten().index_select(0, rows).view_as(roots))
