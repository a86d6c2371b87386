"""How far a root may be from a token that takes it: a number for each layer with a gate."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.vision.backbone.tower import VisionConfig


@dataclass(frozen=True, slots=True)
class FixedLimits:
    """Largest relative difference of the hidden state that is reused, for layers 1 to L - 1.

    A negative one: the layer has no gate, its rows are those of the layer before.
    """

    thresholds: tuple[float, ...]
    scale: float = 1.0

    @classmethod
    def uniform(cls, config: VisionConfig, threshold: float) -> "FixedLimits":
        """Use the same threshold in every layer."""
        return cls((threshold,) * (config.layers - 1))

    @classmethod
    def single(cls, config: VisionConfig, threshold: float) -> "FixedLimits":
        """Gate layer 1 alone, where nearly everything is decided."""
        return cls((threshold, *(-1.0,) * (config.layers - 2)))

    @classmethod
    def none(cls, config: VisionConfig) -> "FixedLimits":
        """Gate no layer: every token is computed."""
        return cls((-1.0,) * (config.layers - 1))

    def gated(self, index: int) -> bool:
        """Whether layer `index` has a gate."""
        return self.thresholds[index - 1] >= 0

    @property
    def gates(self) -> tuple[int, ...]:
        """The layers that have a gate."""
        return tuple(index for index in range(1, len(self.thresholds) + 1) if self.gated(index))

    def scaled(self, factor: float) -> "FixedLimits":
        """Multiply every threshold; 0 reuses nothing but exact copies."""
        return replace(self, scale=self.scale * factor)

    def width(self, config: VisionConfig) -> int:
        """Return the width C of what is compared."""
        return config.width

    def keys(self, _index: int, h: Tensor) -> Tensor:
        """Return what is compared at layer `index`: the hidden state itself."""
        return h

    def of(self, index: int, h: Tensor, _slots: Tensor) -> Tensor:
        """Limits `[R]` of the rows `[R, D]` at the input of layer `index`."""
        return torch.full((len(h),), self.thresholds[index - 1] * self.scale, device=h.device)

    def macs(self, config: VisionConfig, _computed: Tensor, compared: Tensor) -> Tensor:
        """Multiply-accumulates of the comparisons, float64 `[F]`."""
        return compared.double() * config.width
