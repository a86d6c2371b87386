"""The early gate's steps in plain PyTorch."""

from collections.abc import Mapping, Sequence

import torch

from engine.vision.backbone.tower import VisionTower
from engine.vision.earlygate.batch import StepFrames
from engine.vision.earlygate.forward import encode_step
from engine.vision.earlygate.group import Group
from engine.vision.earlygate.learned import LearnedLimits
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.earlygate.roots import Roots, RootTable
from engine.vision.streaming.schedule import GROUP
from engine.vision.streaming.stepper import Batch, Stepped

WHOLE = (tuple(range(GROUP)),)
WAVES = ((0,), (1,), (2, 3))  # slots that are encoded before it is seen which of the next are left


class PlainGate:
    """Steps on any device: the definition.

    A group comes as a whole, or in `waves` of slots: it ends with the next one's first.
    """

    room = None

    def __init__(
        self,
        tower: VisionTower,
        limits: FixedLimits | LearnedLimits,
        waves: Sequence[Sequence[int]] = WHOLE,
    ) -> None:
        self.tower = tower
        self.limits = limits
        self.waves = waves
        self._group = Group()

    def begin(self, places: int) -> None:
        """Allocate the roots side by side."""
        config, like = self.tower.config, self.tower.position
        self._places = places
        self._group = Group()
        self._table = RootTable.empty(
            config, like, places, self.limits.gates, self.limits.width(config)
        )

    def load(self, saved: Mapping[int, Roots]) -> None:
        """Copy streams' roots in."""
        self._close()
        self._table.load(saved)

    def step(self, batch: Batch) -> Stepped:
        """Pack the frames' computed rows and run them through the tower."""
        if batch.slots[0] == 0:
            self._close()
        device, last = self.tower.device, int(batch.slots[-1])
        frames = StepFrames(
            torch.from_numpy(batch.slots).to(device), torch.from_numpy(batch.places).to(device),
            last + 1, self._places, self.tower.config.tokens,
        )  # fmt: skip
        return encode_step(
            self.tower, self.limits, self._table, frames, batch.pixels,
            torch.from_numpy(batch.full).to(device), self._group,
            more=last not in self.waves[-1],
        )  # fmt: skip

    def saved(self, places: Sequence[int]) -> list[Roots]:
        """Return copies of these streams' roots."""
        self._close()
        return self._table.saved(places)

    def _close(self) -> None:
        """End the groups at hand: the far frames' rows are the roots of the next."""
        self._group.close(self._table)
        self._group = Group()
