"""What a stream keeps between groups: for every gate the reference left by the last one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from engine.vision.backbone.tower import VisionConfig


@dataclass(frozen=True, slots=True)
class Cache:
    """References of several streams, by gate; overwritten in place as groups pass."""

    mixed: Tensor  # [L - 1, B, N, D], pre-projections of layer l
    states: Tensor  # [L - 1, B, N, 4D], h, q, k, v of layer l + 1

    @classmethod
    def empty(cls, streams: int, config: VisionConfig, like: Tensor) -> "Cache":
        """Allocate zeros for streams side by side."""
        shape = (config.layers - 1, streams, config.tokens, config.width)
        return cls(like.new_zeros(shape), like.new_zeros(*shape[:-1], 4 * config.width))

    def load(self, saved: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Copy saved tensors to their streams' places."""
        for place, tensors in saved.items():
            self.mixed[:, place].copy_(tensors["mixed"])
            self.states[:, place].copy_(tensors["states"])

    def saved(self, places: Sequence[int]) -> list[dict[str, Tensor]]:
        """Copies of these streams' tensors, each by itself."""
        return [
            {"mixed": self.mixed[:, place].clone(), "states": self.states[:, place].clone()}
            for place in places
        ]
