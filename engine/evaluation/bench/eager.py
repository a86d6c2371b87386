"""Dense as published comparisons run it: float32, one operation at a time, attention by hand."""

from copy import deepcopy

from torch import Tensor

from engine.vision.backbone.tower import VisionTower


class Eager:
    """A tower in float32 whose attention weights are written to memory."""

    def __init__(self, tower: VisionTower) -> None:
        self.tower = deepcopy(tower).float()

    def encode(self, pixels: Tensor) -> Tensor:
        """Embeddings `[F, E]` of uint8 frames `[F, 3, S, S]`."""
        tower = self.tower
        h = tower.embed(tower.normalise(pixels))
        for index in range(tower.config.layers):
            layer = tower.layer(index)
            mixed, _ = layer.attend_weighted(layer.project(h))
            h = layer.finish(h, mixed)
        return tower.finish(h)
