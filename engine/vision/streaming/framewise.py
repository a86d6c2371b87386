"""Strategies that encode each frame by itself: all frames together, whatever stream they are of."""

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engine.vision.backbone.tower import VisionTower
from engine.vision.streaming.strategy import Chunk, Encoded, StreamState

logger = logging.getLogger(__name__)


def encode_framewise(
    tower: VisionTower,
    chunks: Sequence[Chunk],
    embed: Callable[[Tensor], Tensor],
    *,
    computed: Sequence[int],
    macs: int,
    full: bool,
) -> list[Encoded]:
    """Embed all chunks' frames, and hand them out.

    Args:
        tower: the backbone.
        chunks: of any streams; nothing of one is kept but the number of its frames.
        embed: frames `[F, 3, S, S]` to embeddings `[F, E]`.
        computed: tokens that each layer takes, of every frame.
        macs: of every frame.
        full: whether all is computed, so that nothing drifts.
    """
    if not chunks:
        return []
    counts, device = [len(chunk.pixels) for chunk in chunks], tower.device
    total = sum(counts)
    rows = (
        _embed_alike([chunk.pixels for chunk in chunks], embed),
        torch.tensor(computed, dtype=torch.int32, device=device).repeat(total, 1),
        torch.full((total,), float(macs), dtype=torch.float64, device=device),
        torch.full((total,), full, device=device),
    )
    drift = torch.zeros(total, device=device) if full else None
    drifts = [None] * len(chunks) if drift is None else drift.split(counts)
    shares = zip(*(each.split(counts) for each in rows), strict=True)
    return [
        Encoded(
            embeddings=embeddings,
            computed=tokens,
            macs=cost,
            full=exact,
            state=None if chunk.last else _advance(chunk),
            drift=estimate,
        )
        for chunk, (embeddings, tokens, cost, exact), estimate in zip(
            chunks, shares, drifts, strict=True
        )
    ]


def _embed_alike(parts: Sequence[Tensor], embed: Callable[[Tensor], Tensor]) -> Tensor:
    """Embed frames `[F, …]` of several streams: all at once, or those of one shape after another.

    Of models that keep pictures as they are, each video has its own.
    """
    filled = [part for part in parts if len(part)] or [parts[0]]
    if all(part.shape[1:] == filled[0].shape[1:] for part in filled):
        return embed(torch.cat(filled) if len(filled) > 1 else filled[0])
    return torch.cat([embed(part) for part in filled])


def embed_batches(
    tower: VisionTower, pixels: Tensor, batch: int, forward: Callable[[Tensor], Tensor]
) -> Tensor:
    """Embeddings `[F, E]` of frames, so many of them at a time, from normalised values."""
    if not len(pixels):
        return tower.position.new_empty(0, tower.config.dimension)
    return torch.cat([forward(tower.normalise(part)) for part in pixels.split(batch)])


def tell_plain(name: str, tower: VisionTower) -> None:
    """Say that a strategy without a fused forward runs in plain PyTorch on a GPU."""
    if tower.device.type == "cuda":
        logger.warning("%s has no fused forward: plain PyTorch on %s", name, tower.device)


def _advance(chunk: Chunk) -> StreamState:
    seen = chunk.state.num_frames if chunk.state else 0
    return StreamState(seen + len(chunk.pixels), chunk.pixels[:0])
