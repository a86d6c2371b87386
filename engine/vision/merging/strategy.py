"""Encode each frame with fewer tokens from layer to layer, by a rule that says which."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from engine.errors import UsageError
from engine.vision.backbone.tower import VisionTower
from engine.vision.merging.fused import FusedMerging
from engine.vision.merging.macs import reduced_macs, taken
from engine.vision.merging.reduction import Attended, Reduction
from engine.vision.streaming.framewise import embed_batches, encode_framewise
from engine.vision.streaming.strategy import Chunk, Encoded
from kernels.ragged_attention import SMALLEST


@dataclass(frozen=True, slots=True)
class Merging:
    """Each frame by itself, with `fused` by CUDA graphs; the last layer ends for the class alone.

    That layer leaves all its tokens: what it pruned or merged could not reach the class token.
    """

    tower: VisionTower
    reduction: Reduction
    name: str
    batch: int = 32
    fused: FusedMerging | None = None
    whole_streams: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if not self.tower.config.by_class:
            raise UsageError(
                f"{self.name} needs a tower embedded by its class token, which is kept"
            )
        self.reduction.check(self.tower.config)

    def with_scale(self, scale: float) -> "Merging":
        """Drop more (above 1) or fewer tokens; at 0 all are kept."""
        rule = self.reduction.with_scale(scale)
        fused = None if self.fused is None else self.fused.reduced(rule)
        return replace(self, reduction=rule, fused=fused)

    @torch.inference_mode()
    def encode(self, chunks: Sequence[Chunk]) -> list[Encoded]:
        """Encode all chunks' frames in batches, whatever stream they come from."""
        counts = self.counts()
        return encode_framewise(
            self.tower,
            chunks,
            self._embed_bytes,
            computed=counts,
            macs=self.macs(),
            full=counts[-1] == self.tower.config.tokens,
        )

    def _embed_bytes(self, pixels: Tensor) -> Tensor:
        if self.fused is not None:
            return self.fused.encode(pixels)
        return embed_batches(self.tower, pixels, self.batch, self.embed)

    def embed(self, values: Tensor) -> Tensor:
        """Embeddings `[B, E]` of normalised values `[B, 3, S, S]`."""
        tower, reduction = self.tower, self.reduction
        h, final = tower.embed(values), tower.config.layers - 1
        sizes, bias = h.new_ones(h.shape[:2], dtype=torch.float32), None
        for index in range(final):
            layer, count = tower.layer(index), h.shape[1]
            qkv = layer.project(h)
            h = h + layer.out(layer.attend(qkv, bias))
            if reduction.kept(index, count) < count:
                tokens = Attended(h, qkv, layer.heads, bias=bias)
                h, sizes = reduction.choose(index, tokens).plainly(h, sizes)
                bias = sizes.clamp(min=SMALLEST).log() if reduction.proportional else None
            h = layer.feed_forward(h)
        last = tower.layer(final)
        mixed = last.attend(last.project(h), bias)
        return tower.finish(last.finish(h[:, 0], mixed[:, 0]))

    def counts(self) -> list[int]:
        """Tokens that each layer takes."""
        return taken(self.tower.config, self.reduction)

    def macs(self) -> int:
        """Multiply-accumulates of a frame."""
        return reduced_macs(self.tower.config, self.reduction)
