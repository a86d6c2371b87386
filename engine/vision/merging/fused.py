"""A tower's forward with fewer tokens from layer to layer, as CUDA graphs."""

import copy

import torch

from engine.vision.backbone.tower import VisionTower
from engine.vision.fused.frames import MOST_FRAMES, FusedFrames
from engine.vision.fused.layers import (
    feed_rows,
    finish_classes,
    finish_rows,
    multiply,
    norm_rows,
    project_last,
    project_rows,
)
from engine.vision.merging.reduction import FUSED, Attended, Reduction
from kernels.ragged_attention import attend_sized


class FusedMerging(FusedFrames):
    """As `Merging` in plain PyTorch: how many tokens each layer has is known beforehand."""

    def __init__(self, tower: VisionTower, reduction: Reduction, batch: int = MOST_FRAMES) -> None:
        super().__init__(tower, batch)
        self.reduction = reduction
        weights = batch * tower.config.heads * tower.config.tokens
        self._weights = torch.zeros(weights, device=tower.device)

    def reduced(self, reduction: Reduction) -> "FusedMerging":
        """Return the same memory, to be used in turn, for another rule."""
        other = copy.copy(self)
        other.reduction, other._graphs = reduction, {}
        return other

    def _forward(self, frames: int) -> None:
        tower, config, rule = self.tower, self.tower.config, self.reduction
        tokens, sizes = config.tokens, None
        self._embedding.write(self.pixels[:frames], self._h[: frames * tokens])
        for index in range(config.layers - 1):
            layer, rows, kept = tower.layer(index), frames * tokens, rule.kept(index, tokens)
            h, work, qkv = self._h[:rows], self._work.first(rows), self._qkv[:rows]
            project_rows(layer, h, work, qkv)
            weights = None
            if rule.weighs and kept < tokens:
                shape = (frames, config.heads, tokens)
                weights = self._weights[: frames * config.heads * tokens].view(shape)
            counted = sizes if rule.proportional else None
            mixed = attend_sized(
                qkv, config.heads, tokens, sizes=counted, out=self._mixed[:rows], weights=weights
            )
            if kept == tokens:
                finish_rows(layer, mixed, h, work, h)
                continue
            after = multiply(mixed, layer.out, residual=h, out=work.after)
            after, grid = after.view(frames, tokens, -1), qkv.view(frames, tokens, -1)
            merge = rule.choose(index, Attended(after, grid, layer.heads, FUSED, weights=weights))
            if sizes is None:
                sizes = torch.ones(frames, tokens, device=tower.device)
            h = self._h[: frames * kept]
            sizes = merge.into(h.view(frames, kept, -1), after, sizes)
            work = self._work.first(len(h))
            norm_rows(h, layer.norm2, work.normed, units=work.units)
            feed_rows(layer, work, h, residual=h)
            tokens = kept
        rows = frames * tokens
        h, qkv = self._h[:rows], self._qkv[:rows]
        project_last(tower.layer(config.layers - 1), h, tokens, self._work.first(rows), qkv)
        first = attend_sized(
            qkv, config.heads, tokens, sizes=sizes if rule.proportional else None,
            out=self._mixed[:frames], class_only=True,
        )  # fmt: skip
        out = self.embeddings[:frames]
        finish_classes(tower, first, h[::tokens], self._work.first(frames), out)
