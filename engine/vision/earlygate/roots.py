"""What a stream keeps of the frames that its next ones may follow: one root per position."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.vision.backbone.tower import VisionConfig


@dataclass(frozen=True, slots=True)
class Roots:
    """One stream's: what was compared at each gate, and each layer's key and value."""

    compared: Tensor  # [gates, N, C]
    keys_values: Tensor  # [L - 1, N, 2D], from layer 1 on
    outputs: Tensor  # [1, N, D] after the last layer; [0, …] where the class token is all


@dataclass(frozen=True, slots=True)
class RootTable:
    """The roots of streams side by side, changed in place while frames are encoded."""

    gates: tuple[int, ...]  # layers with a gate
    compared: Tensor  # [gates, B, N, C]
    keys_values: Tensor  # [L - 1, B, N, 2D], from layer 1 on
    outputs: Tensor  # [1, B, N, D] after the last layer; [0, …] where the class token is all

    @classmethod
    def empty(
        cls,
        config: VisionConfig,
        like: Tensor,
        num_streams: int,
        gates: tuple[int, ...],
        width: int,
    ) -> "RootTable":
        """Allocate zeros for streams side by side."""
        depth, grid = config.layers - 1, (num_streams, config.tokens)
        tail = 0 if config.by_class else 1
        return cls(
            gates,
            like.new_zeros(len(gates), *grid, width),
            like.new_zeros(depth, *grid, 2 * config.width),
            like.new_zeros(tail, *grid, config.width),
        )

    def compared_at(self, index: int) -> Tensor:
        """What was compared at the gate of layer `index`, `[B, N, C]`."""
        return self.compared[self.gates.index(index)]

    def load(self, saved: Mapping[int, Roots]) -> None:
        """Copy streams' roots to their places."""
        for place, roots in saved.items():
            self.compared[:, place] = roots.compared
            self.keys_values[:, place] = roots.keys_values
            self.outputs[:, place] = roots.outputs

    def saved(self, places: Sequence[int]) -> list[Roots]:
        """Copies of these streams' roots, each by itself."""
        tables = (self.compared, self.keys_values, self.outputs)
        return [Roots(*(table[:, place].clone() for table in tables)) for place in places]


def put(table: Tensor, at: Tensor, rows: Tensor) -> None:
    """Replace rows of `[B, N, …]` at the flat positions `at`."""
    table.view(-1, table.shape[-1]).index_copy_(0, at, rows)


def extend(table: Tensor, rows: Tensor) -> Tensor:
    """Rows of the cached roots `[B, N, …]` followed by those computed now: what a page indexes."""
    return torch.cat([table.view(-1, table.shape[-1]), rows])
