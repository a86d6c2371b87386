"""What the frames of a group leave behind for those of the same group that are encoded later."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.vision.earlygate.batch import PackedTokens
from engine.vision.earlygate.roots import RootTable, put


@dataclass(slots=True)
class Kept:
    """The rows of one gated layer: what was compared there, and the keys and values."""

    homes: Tensor  # int64 [R], places in [S, B, N]; those of slot 0 come first
    rows: Tensor | None  # [R, C]; None: the layer has no gate
    keys_values: Tensor  # [R, 2D]
    row_of: Tensor  # int32 [S, B, N]; negative: not computed
    follows: Tensor  # int8 [S, B, N]; negative: a frame not encoded yet


@dataclass(slots=True)
class Group:
    """A group of frames that is encoded in parts; the roots stay as they are until it is closed."""

    layers: dict[int, Kept] = field(default_factory=dict)
    outputs: Tensor | None = None  # [R, D] after the last layer, of its computed rows

    def follows(self, gate: int, packed: PackedTokens) -> Tensor:
        """Whom each token of the group follows before this gate: those done, and those here."""
        if gate not in self.layers:
            return packed.follows.clamp(min=0)
        earlier = grown(self.layers[gate].follows, packed.follows)
        return torch.where(earlier >= 0, earlier, packed.follows).clamp(min=0)

    def row_of(self, gate: int, packed: PackedTokens) -> Tensor:
        """Each token's row among those kept followed by those here."""
        if gate not in self.layers:
            return packed.row_of
        kept = self.layers[gate]
        here = torch.where(packed.row_of >= 0, packed.row_of + len(kept.homes), -1)
        return torch.maximum(here, grown(kept.row_of, here))

    def rows(self, gate: int, rows: Tensor) -> Tensor:
        """What was compared in the frames done, followed by what is here."""
        kept = self.layers[gate].rows if gate in self.layers else None
        return rows if kept is None else torch.cat([kept, rows])

    def keys_values(self, gate: int, rows: Tensor) -> Tensor:
        """Keys and values of the frames done, followed by those here."""
        return torch.cat([self.layers[gate].keys_values, rows]) if gate in self.layers else rows

    def keep(
        self,
        gate: int,
        packed: PackedTokens,
        rows: Tensor | None,
        keys_values: Tensor,
        *,
        more: bool,
    ) -> None:
        """Take in the computed rows of a layer, after the gate has decided.

        Without `more` frames to come only those of slot 0 are still needed.
        """
        homes, follows, row_of = packed.homes, packed.follows, self.row_of(gate, packed)
        if not more:
            if gate not in self.layers:
                num = int((homes < follows[0].numel()).sum())
                leading = None if rows is None else rows[:num].clone()
                kept = homes[:num], leading, keys_values[:num].clone()
                self.layers[gate] = Kept(*kept, row_of, follows)
            return
        if gate in self.layers:
            earlier = self.layers[gate]
            homes = torch.cat([earlier.homes, homes])
            done = grown(earlier.follows, follows)
            follows = torch.where(done >= 0, done, follows)
        rows = None if rows is None else self.rows(gate, rows)
        keys_values = self.keys_values(gate, keys_values)
        self.layers[gate] = Kept(homes, rows, keys_values, row_of, follows)

    def close(self, roots: RootTable) -> None:
        """Leave the far frames' rows, those of slot 0, as the roots of the groups to come."""
        for gate, kept in self.layers.items():
            num = int((kept.homes < kept.follows[0].numel()).sum())
            if kept.rows is not None:
                put(roots.compared_at(gate + 1), kept.homes[:num], kept.rows[:num])
            put(roots.keys_values[gate], kept.homes[:num], kept.keys_values[:num])
        if self.outputs is not None:
            put(roots.outputs[0], kept.homes[:num], self.outputs[:num])


def grown(grid: Tensor, like: Tensor) -> Tensor:
    """Add slots of which nothing is known, -1, up to those of `like`."""
    missing = len(like) - len(grid)
    return torch.cat([grid, grid.new_full((missing, *grid.shape[1:]), -1)]) if missing else grid
