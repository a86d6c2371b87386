"""What a stream keeps of the frames that its next ones may follow: one root per position."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.vision.tower import VisionConfig


@dataclass(frozen=True, slots=True)
class Roots:
    """For each gated layer and position: what was compared, and the key and value it produced.

    The tensors are working copies, changed in place while frames are encoded.
    """

    compared: Tensor  # [L - 1, B, N, C]
    keys_values: Tensor  # [L - 1, B, N, 2D]
    outputs: Tensor  # [1, B, N, D] after the last layer; [0, …] where the class token is all

    @classmethod
    def empty(cls, config: VisionConfig, like: Tensor, num_streams: int, width: int) -> "Roots":
        """Allocate zeros for streams side by side."""
        depth, grid = config.layers - 1, (num_streams, config.tokens)
        tail = 0 if config.class_token else 1
        return cls(
            like.new_zeros(depth, *grid, width),
            like.new_zeros(depth, *grid, 2 * config.width),
            like.new_zeros(tail, *grid, config.width),
        )

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
