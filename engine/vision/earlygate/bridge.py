"""Frames that need not be encoded: the vectors on both sides agree, and the pixels show no news."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.errors import UsageError


@dataclass(frozen=True, slots=True)
class Bridge:
    """Interpolates a frame between the two that it may follow, where those agree.

    A frame with something in one patch that neither side shows, and by which the sides do not
    differ, is encoded all the same: a brief event lies between two sides that agree. With `change`
    so is one whose sides differ in a patch: what one side shows here and the other there, the frame
    may show nowhere, so that few such frames drift far.
    """

    limit: float = 0.0  # largest 1 - cosine of the two sides' vectors; 0: every frame is encoded
    novelty: float = 0.3  # largest change of a patch's mean colour beyond both sides, 0 to 1
    change: float = 1.0  # largest change of a patch's mean colour from side to side, 0 to 1

    def __post_init__(self) -> None:
        if not 0 <= self.limit <= 2 or self.novelty < 0 or self.change < 0:
            raise UsageError(
                "bridge must be from 0 to 2, novelty and change 0 or more, got"
                f" {self.limit}, {self.novelty} and {self.change}"
            )

    def scaled(self, factor: float) -> "Bridge":
        """Allow sides to differ by `factor` times as much: 1 - cosine goes by the square."""
        return replace(self, limit=min(2.0, self.limit * factor**2))

    def spans(self, left: Tensor, right: Tensor, shown: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Say which frames lie between sides `[n, E]` that agree.

        `shown` are mean colours of patches `[n, 3, side, side]`, of frames, left and right sides.
        """
        apart = 1 - F.cosine_similarity(left.float(), right.float())
        still = _change(*shown[1:]).amax((1, 2)) <= self.change
        calm = (novelty(*shown) <= self.novelty) & still
        return (apart <= self.limit) & calm.to(apart.device)


def novelty(sketches: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """What a patch shows that neither side does, the largest of each frame: float32 `[n]`.

    All are mean colours of patches `[n, 3, side, side]`. A patch's change from the nearer side
    counts as far as it exceeds what the sides differ by: a panning camera brings nothing new.
    """
    nearer = torch.minimum(_change(sketches, left), _change(sketches, right))
    return (nearer - _change(left, right)).amax((1, 2))


def _change(sketches: Tensor, other: Tensor) -> Tensor:
    return (sketches - other).abs().amax(1)
