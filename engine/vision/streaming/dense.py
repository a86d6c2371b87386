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
from engine.vision.fused.dense import FusedDense
from engine.vision.fused.frames import fitting_batch
from engine.vision.fused.layers import fits
from engine.vision.streaming.framewise import embed_batches, encode_framewise
from engine.vision.streaming.options import StrategyOptions
from engine.vision.streaming.strategy import (
    Buildable,
    Chunk,
    Encoded,
    check_untrained,
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
        config = self.tower.config
        return encode_framewise(
            self.tower,
            chunks,
            self.embed,
            computed=[config.tokens] * config.layers,
            macs=dense_macs(config),
            full=True,
        )

    def embed(self, pixels: Tensor) -> Tensor:
        """Embeddings `[n, E]` of frames `[n, 3, S, S]`."""
        if self.fused is not None:
            return self.fused.encode(pixels)
        return embed_batches(self.tower, pixels, self.batch, self.tower)


def build_dense(
    tower: VisionTower, _space: Space | None, parts: Path | None, options: Mapping[str, Any]
) -> Dense:
    """Build it, fused where that is the way to run the tower."""
    check_untrained("dense", parts)
    StrategyOptions.of("dense", options, ())
    if not fits(tower):
        return Dense(tower)
    free, _ = torch.cuda.mem_get_info(tower.device)
    return Dense(tower, fused=FusedDense(tower, fitting_batch(tower.config, free)))


DENSE = Buildable(build_dense)
