"""What a stream keeps of its runs: the newest row of each place, and the pixels before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.vision.backbone.tower import VisionConfig


@dataclass(frozen=True, slots=True)
class LiveRows:
    """Of one stream, or of streams side by side: a further dimension, the second of `rows`."""

    pixels: Tensor  # uint8 [3, S, S], that the next frame is compared with
    rows: Tensor  # [L, P, 2D], keys and values of the newest token computed at each place
    outputs: Tensor  # [P, D] after the last layer; [0, D] where the class token is all

    @classmethod
    def empty(cls, places: int, config: VisionConfig, like: Tensor) -> "LiveRows":
        """Allocate zeros for streams side by side."""
        patches, size = config.side**2, config.image_size
        tail = 0 if config.by_class else patches
        return cls(
            torch.zeros(places, 3, size, size, dtype=torch.uint8, device=like.device),
            like.new_zeros(config.layers, places, patches, 2 * config.width),
            like.new_zeros(places, tail, config.width),
        )

    def load(self, saved: "Mapping[int, LiveRows]") -> None:
        """Copy streams' rows to their places."""
        for place, live in saved.items():
            self.pixels[place] = live.pixels
            self.rows[:, place] = live.rows
            self.outputs[place] = live.outputs

    def saved(self, places: Sequence[int]) -> "list[LiveRows]":
        """Copies of these streams' rows, each by itself."""
        return [
            LiveRows(self.pixels[at].clone(), self.rows[:, at].clone(), self.outputs[at].clone())
            for at in places
        ]
