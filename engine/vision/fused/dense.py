"""A tower's whole forward, from bytes on the GPU to embeddings, as CUDA graphs."""

from engine.vision.fused.frames import FusedFrames
from engine.vision.fused.layers import (
    finish_classes,
    finish_rows,
    project_last,
    project_rows,
)
from kernels.attention import attend


class FusedDense(FusedFrames):
    """Every token of every layer."""

    def _forward(self, frames: int) -> None:
        tower, config = self.tower, self.tower.config
        tokens = config.tokens
        rows = frames * tokens
        h, mixed, qkv = self._h[:rows], self._mixed[:rows], self._qkv[:rows]
        work = self._work.first(rows)
        self._embedding.write(self.pixels[:frames], h)
        for index in range(config.layers - 1):
            layer = tower.layer(index)
            project_rows(layer, h, work, qkv)
            attend(qkv, config.heads, tokens, out=mixed)
            finish_rows(layer, mixed, h, work, h)
        project_last(tower.layer(config.layers - 1), h, tokens, work, qkv)
        first = attend(qkv, config.heads, tokens, out=mixed[:frames], class_only=True)
        out = self.embeddings[:frames]
        finish_classes(tower, first, h[::tokens], self._work.first(frames), out)
