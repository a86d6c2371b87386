"""A stream's memory between groups: for every gate the reference that the last group left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.streaming.tabled import Tabled


@dataclass(frozen=True, slots=True)
class References:
    """One stream's references, by gate."""

    mixed: Tensor  # [L - 1, N, D], pre-projections of layer l
    states: Tensor  # [L - 1, N, 4D], h, q, k, v of layer l + 1


@dataclass(frozen=True, slots=True)
class ReferenceTable:
    """References of several streams, by gate; overwritten in place as groups pass."""

    mixed: Tensor  # [L - 1, B, N, D]
    states: Tensor  # [L - 1, B, N, 4D]

    @classmethod
    def empty(cls, streams: int, config: VisionConfig, like: Tensor) -> "ReferenceTable":
        """Allocate zeros for streams side by side."""
        shape = (config.layers - 1, streams, config.tokens, config.width)
        return cls(like.new_zeros(shape), like.new_zeros(*shape[:-1], 4 * config.width))

    def load(self, saved: Mapping[int, References]) -> None:
        """Copy streams' references to their places."""
        for place, references in saved.items():
            self.mixed[:, place].copy_(references.mixed)
            self.states[:, place].copy_(references.states)

    def saved(self, places: Sequence[int]) -> list[References]:
        """Copies of these streams' references, each by itself."""
        return [
            References(self.mixed[:, place].clone(), self.states[:, place].clone())
            for place in places
        ]


@dataclass(slots=True)
class ReferenceStepper(Tabled[References]):
    """A plain stepper's memory, where that is its streams' references."""

    tower: VisionTower
    room: int | None = field(default=None, init=False)
    _table: ReferenceTable = field(init=False)

    def begin(self, places: int) -> None:
        """Make room for that many streams side by side."""
        self._table = ReferenceTable.empty(places, self.tower.config, self.tower.position)
