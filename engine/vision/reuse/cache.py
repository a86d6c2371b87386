"""What a stream keeps between groups: for every gate the reference left by the last one."""

from collections.abc import Sequence
from dataclasses import dataclass

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
        mixed = like.new_empty(shape)
        states = like.new_empty(*shape[:-1], 4 * config.width)
        for at, saved in enumerate(streams):
            if saved is None:
                mixed[:, at] = states[:, at] = 0
            else:
                mixed[:, at].copy_(saved["mixed"])
                states[:, at].copy_(saved["states"])
        return cls(mixed, states)

    def saved(self, stream: int) -> dict[str, Tensor]:
        """Tensors of one stream, by themselves; the cache is not used after that."""
        own = {"mixed": self.mixed[:, stream], "states": self.states[:, stream]}
        alone = self.mixed.shape[1] == 1
        return own if alone else {name: tensor.clone() for name, tensor in own.items()}
