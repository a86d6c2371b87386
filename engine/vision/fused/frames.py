"""Frames by themselves, as many at a time as there is memory planned for, as CUDA graphs."""

from abc import ABC, abstractmethod
from threading import Lock

import torch
from torch import Tensor

from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.fused.capture import capture
from engine.vision.fused.layers import Embedding, Workspace, check_tower, quartered

MOST_FRAMES = 256


def fitting_batch(config: VisionConfig, free_bytes: int) -> int:
    """Frames of a half-precision tower to run at once: 256, or a quarter until they fit."""
    row = 8 * config.width + config.mlp
    return quartered(MOST_FRAMES, 2 * config.tokens * row, free_bytes)


class FusedFrames(ABC):
    """Encode frames, `batch` at a time, over memory planned once.

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
        self._work = Workspace.allocate(tower.layer(0), rows)
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

    @abstractmethod
    def _forward(self, frames: int) -> None:
        """What a graph of so many frames records."""
