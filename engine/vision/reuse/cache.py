"""What a stream keeps between groups: for every gate the reference left by the last one."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.vision.tower import VisionConfig


@dataclass(frozen=True, slots=True)
class Cache:
    """References of several streams, by gate; overwritten in place as groups pass."""

    mixed: Tensor  # [L - 1, B, N, D], pre-projections of layer l
    states: Tensor  # [L - 1, B, N, 4D], h, q, k, v of layer l + 1

    @classmethod
    def gather(
        cls,
        streams: Sequence[dict[str, Tensor] | None],
        config: VisionConfig,
        like: Tensor,
    ) -> "Cache":
        """Copy the saved tensors of streams side by side; None has none yet."""
        shape = (config.layers - 1, len(streams), config.tokens, config.width)
        mixed = torch.zeros(shape, dtype=like.dtype, device=like.device)
        states = torch.zeros((*shape[:-1], 4 * config.width), dtype=like.dtype, device=like.device)
        for at, saved in enumerate(streams):
            if saved is not None:
                mixed[:, at].copy_(saved["mixed"])
                states[:, at].copy_(saved["states"])
        return cls(mixed, states)

    def saved(self, stream: int) -> dict[str, Tensor]:
        """Tensors of one stream, by themselves."""
        return {
            "mixed": self.mixed[:, stream].clone(),
            "states": self.states[:, stream].clone(),
        }
