"""What a stream keeps of the frames that its next ones may follow: one root per position."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.vision.backbone.tower import VisionConfig


@dataclass(frozen=True, slots=True)
class Roots:
    """For each position: what was compared at each gate, and each layer's key and value.

    The tensors are working copies, changed in place while frames are encoded.
    """

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
    ) -> "Roots":
        """Allocate zeros for streams side by side."""
        depth, grid = config.layers - 1, (num_streams, config.tokens)
        tail = 0 if config.class_token else 1
        return cls(
            gates,
            like.new_zeros(len(gates), *grid, width),
            like.new_zeros(depth, *grid, 2 * config.width),
            like.new_zeros(tail, *grid, config.width),
        )

    def compared_at(self, index: int) -> Tensor:
        """What was compared at the gate of layer `index`, `[B, N, C]`."""
        return self.compared[self.gates.index(index)]

    def load(self, stream: int, saved: Mapping[str, Tensor]) -> None:
        """Copy a stream's saved roots in, if it has any."""
        if "compared" in saved:
            self.compared[:, stream] = saved["compared"]
            self.keys_values[:, stream] = saved["keys_values"]
            self.outputs[:, stream] = saved["outputs"]

    def of(self, stream: int) -> dict[str, Tensor]:
        """Return a stream's own tensors, apart from the others, to be saved."""
        return {
            "compared": self.compared[:, stream].clone(),
            "keys_values": self.keys_values[:, stream].clone(),
            "outputs": self.outputs[:, stream].clone(),
        }


def put(table: Tensor, at: Tensor, rows: Tensor) -> None:
    """Replace rows of `[B, N, …]` at the flat positions `at`."""
    table.view(-1, table.shape[-1]).index_copy_(0, at, rows)


def extend(table: Tensor, rows: Tensor) -> Tensor:
    """Rows of the cached roots `[B, N, …]` followed by those computed now: what a page indexes."""
    return torch.cat([table.view(-1, table.shape[-1]), rows])
