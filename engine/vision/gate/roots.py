"""What a stream keeps of the frames that its next ones may follow: one root per position."""

from collections.abc import Mapping, Sequence
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
    def gather(
        cls, saved: Sequence[Mapping[str, Tensor]], config: VisionConfig, like: Tensor, width: int
    ) -> "Roots":
        """Copy the streams' saved roots side by side; a stream without any gets zeros."""
        depth, tokens, hidden = config.layers - 1, config.tokens, config.width
        tail = 0 if config.class_token else 1
        shapes = {
            "compared": (depth, tokens, width),
            "keys_values": (depth, tokens, 2 * hidden),
            "outputs": (tail, tokens, hidden),
        }
        stacked = {}
        for name, (layers, *shape) in shapes.items():
            whole = like.new_zeros(layers, len(saved), *shape)
            for at, tensors in enumerate(saved):
                if name in tensors:
                    whole[:, at] = tensors[name]
            stacked[name] = whole
        return cls(**stacked)

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
