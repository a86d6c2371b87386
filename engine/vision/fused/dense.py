"""A tower's whole forward, from bytes on the GPU to embeddings, as CUDA graphs."""

from threading import Lock

import torch
from torch import Tensor

from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.fused.capture import capture
from engine.vision.fused.layers import (
    Embedding,
    Workspace,
    check_tower,
    finish_classes,
    finish_rows,
    multiply,
    norm_rows,
    project_rows,
    quartered,
)
from kernels.attention import attend

MOST_FRAMES = 256


def fitting_batch(config: VisionConfig, free_bytes: int) -> int:
    """Frames of a half-precision tower to run at once: 256, or a quarter until they fit."""
    row = 8 * config.width + config.mlp
    return quartered(MOST_FRAMES, 2 * config.tokens * row, free_bytes)


class FusedDense:
    """Encode frames by themselves, `batch` at a time, over memory planned once.

    A shorter batch runs at the nearest of a few sizes that are captured when first needed. What a
    frame's embedding is depends neither on the size nor on the other frames of its batch. Threads
    take turns.
    """

    def __init__(self, tower: VisionTower, batch: int = MOST_FRAMES) -> None:
        check_tower(tower)
        config, like = tower.config, tower.position
        size, rows = config.image_size, batch * config.tokens
        self.tower = tower
        self.batch = batch
        self.pixels = torch.zeros(
            batch, 3, size, size, dtype=torch.uint8, device=tower.device
        )  # fmt: skip
        self.embeddings = like.new_empty(batch, config.dimension)
        self._embedding = Embedding(tower, batch)
        self._work = Workspace.allocate(tower, rows)
        self._h = like.new_empty(rows, config.width)
        self._mixed = like.new_empty(rows, config.width)
        self._qkv = like.new_empty(rows, 3 * config.width)
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self._turn = Lock()

    @torch.inference_mode()
    def encode(self, pixels: Tensor) -> Tensor:
        """Embeddings `[n, E]` of uint8 frames `[n, 3, S, S]`."""
        result = self.embeddings.new_empty(len(pixels), self.tower.config.dimension)
        for start in range(0, len(pixels), self.batch):
            part = pixels[start : start + self.batch]
            with self._turn:
                self.pixels[: len(part)].copy_(part, non_blocking=True)
                self.run(len(part))
                result[start : start + len(part)] = self.embeddings[: len(part)]
        return result

    def run(self, frames: int) -> None:
        """Encode the first frames of `pixels` into the first rows of `embeddings`."""
        size = self._size(frames)
        if self.tower.device.type != "cuda":
            return self._forward(size)
        if size not in self._graphs:
            self._graphs[size] = capture(lambda: self._forward(size))
        return self._graphs[size].replay()

    def _size(self, frames: int) -> int:
        """Smallest of batch, batch / 4, batch / 16 and so on that holds the frames."""
        size = self.batch
        while size % 4 == 0 and size // 4 >= frames:
            size //= 4
        return size

    def _forward(self, frames: int) -> None:
        tower, config = self.tower, self.tower.config
        tokens, width = config.tokens, config.width
        rows = frames * tokens
        h, mixed, qkv = self._h[:rows], self._mixed[:rows], self._qkv[:rows]
        work = self._work.first(rows)
        self._embedding.write(self.pixels[:frames], h)
        for index in range(config.layers - 1):
            layer = tower.layer(index)
            project_rows(layer, h, work, qkv)
            attend(qkv, config.heads, tokens, out=mixed)
            finish_rows(layer, mixed, h, work, h)
        # of the last layer's queries only the class tokens' are needed
        last = tower.layer(config.layers - 1)
        normed, units = work.normed, work.units
        norm_rows(h, last.norm1, normed, units=units)
        multiply(normed, last.qkv, units=units, columns=slice(width, None), out=qkv[:, width:])
        units = None if units is None else units[::tokens]
        multiply(
            normed[::tokens], last.qkv, units=units, columns=slice(width),
            out=qkv[::tokens, :width],
        )  # fmt: skip
        first = attend(qkv, config.heads, tokens, out=mixed[:frames], class_only=True)
        out = self.embeddings[:frames]
        finish_classes(tower, first, h[::tokens], self._work.first(frames), out)
