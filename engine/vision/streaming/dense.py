"""Every frame in full: the definition that the other strategies are judged against."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.vision.backbone.macs import dense_macs
from engine.vision.backbone.space import Space
from engine.vision.backbone.tower import VisionTower
from engine.vision.fused.dense import FusedDense, fitting_batch
from engine.vision.fused.layers import fits
from engine.vision.streaming.strategy import (
    Buildable,
    Chunk,
    Encoded,
    StreamState,
    check_no_parts,
    check_options,
)


@dataclass(frozen=True, slots=True)
class Dense:
    """Encode each frame by itself; with `fused` by CUDA graphs."""

    tower: VisionTower
    batch: int = 32
    fused: FusedDense | None = None
    name: str = "dense"
    whole_streams: bool = field(default=False, init=False)

    @torch.inference_mode()
    def encode(self, chunks: Sequence[Chunk]) -> list[Encoded]:
        """Encode all chunks' frames in batches, whatever stream they come from."""
        if not chunks:
            return []
        counts = [len(chunk.pixels) for chunk in chunks]
        total, config, device = sum(counts), self.tower.config, self.tower.device
        rows = (
            self.embed(torch.cat([chunk.pixels for chunk in chunks])),
            torch.full((total, config.layers), config.tokens, dtype=torch.int32, device=device),
            torch.full((total,), float(dense_macs(config)), dtype=torch.float64, device=device),
            torch.ones(total, dtype=torch.bool, device=device),
            torch.zeros(total, device=device),
        )
        shares = zip(*(each.split(counts) for each in rows), strict=True)
        return [
            Encoded(
                embeddings=embeddings,
                computed=computed,
                macs=macs,
                full=full,
                state=None if chunk.last else _advance(chunk),
                drift=drift,
            )
            for chunk, (embeddings, computed, macs, full, drift) in zip(chunks, shares, strict=True)
        ]

    def embed(self, pixels: Tensor) -> Tensor:
        """Embeddings `[n, E]` of frames `[n, 3, S, S]`."""
        if self.fused is not None:
            return self.fused.encode(pixels)
        if not len(pixels):
            return self.tower.position.new_empty(0, self.tower.config.dimension)
        parts = pixels.split(self.batch)
        return torch.cat([self.tower(self.tower.normalise(part)) for part in parts])


def _advance(chunk: Chunk) -> StreamState:
    seen = chunk.state.num_frames if chunk.state else 0
    return StreamState(seen + len(chunk.pixels), chunk.pixels[:0])


def build_dense(
    tower: VisionTower, _space: Space | None, parts: Path | None, options: Mapping[str, Any]
) -> Dense:
    """Build it, fused where that is the way to run the tower."""
    check_no_parts("dense", parts)
    check_options("dense", options, ())
    if not fits(tower):
        return Dense(tower)
    free, _ = torch.cuda.mem_get_info(tower.device)
    return Dense(tower, fused=FusedDense(tower, fitting_batch(tower.config, free)))


DENSE = Buildable(build_dense)
