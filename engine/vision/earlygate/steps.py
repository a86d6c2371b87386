"""Where the steps of one call run, with the roots of its streams."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.vision.backbone.tower import VisionTower
from engine.vision.earlygate.batch import Frames
from engine.vision.earlygate.forward import Stepped, encode_step
from engine.vision.earlygate.group import Group
from engine.vision.earlygate.learned import LearnedLimits
from engine.vision.earlygate.limits import Limits
from engine.vision.earlygate.roots import Roots
from engine.vision.streaming.places import Numbers

Flags = NDArray[np.bool_]


class Steps(Protocol):
    """Steps of streams side by side; what they leave behind is kept until the next `begin`."""

    def begin(self, num_streams: int, limits: Limits | LearnedLimits) -> None:
        """Make room for that many streams, and set the limits of the steps to come."""

    def load(self, saved: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Put streams' roots in their places; one without any starts with a full frame."""

    def step(self, slots: Numbers, places: Numbers, pixels: Tensor, whole: Flags) -> Stepped:
        """Encode the frames `[n, 3, S, S]` at these slots and places, whole or gated.

        They lie by slot, then by place, both ascending.
        """

    def saved(self, places: Sequence[int]) -> list[dict[str, Tensor]]:
        """Return copies of what these streams keep."""


class PlainSteps:
    """Plain PyTorch on any device: the definition."""

    def __init__(self, tower: VisionTower, references: Sequence[Sequence[int]]) -> None:
        self.tower = tower
        self.references = references
        self.group = Group()

    def begin(self, num_streams: int, limits: Limits | LearnedLimits) -> None:
        """Allocate the roots side by side."""
        self.limits, self.num_streams = limits, num_streams
        config, like = self.tower.config, self.tower.position
        width = limits.width(config)
        self.roots = Roots.empty(config, like, num_streams, limits.gates, width)

    def load(self, saved: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Copy streams' roots in."""
        for place, roots in saved.items():
            self.roots.load(place, roots)

    def step(
        self, slots: Numbers, places: Numbers, pixels: Tensor, whole: Flags, *, more: bool = False
    ) -> Stepped:
        """Pack the frames' computed rows and run them through the tower.

        With `more` later slots of the groups may follow in steps of their own, up to `close`.
        """
        device = self.tower.device
        frames = Frames(
            torch.from_numpy(slots).to(device), torch.from_numpy(places).to(device),
            int(slots[-1]) + 1, self.num_streams, self.tower.config.tokens,
        )  # fmt: skip
        stepped = encode_step(
            self.tower, self.limits, self.roots, frames, pixels,
            torch.from_numpy(whole).to(device), self.references[: frames.num_slots], self.group,
            more=more,
        )  # fmt: skip
        if not more:
            self.close()
        return stepped

    def close(self) -> None:
        """End the groups at hand: the far frames' rows are the roots of the next."""
        self.group.close(self.roots)
        self.group = Group()

    def saved(self, places: Sequence[int]) -> list[dict[str, Tensor]]:
        """Return copies of these streams' roots."""
        return [self.roots.of(place) for place in places]
