"""Scene cuts, seen in the pixels alone."""

import torch
from torch import Tensor
from torch.nn import functional as F


def sketch(pixels: Tensor, patch: int) -> Tensor:
    """Mean colour of each patch, 0 to 1: float32 `[F, 3, side, side]` of bytes `[F, 3, S, S]`."""
    return F.avg_pool2d(pixels.float(), patch) / 255


def changes(sketches: Tensor, before: Tensor | None) -> Tensor:
    """Mean absolute change of each frame's brightness from the one before it: float32 `[F]`.

    A frame with nothing before it has changed by 1, all there is.
    """
    bright = sketches.mean(1)
    first = bright[:1] + 1 if before is None else before.mean(0)[None]
    earlier = torch.cat([first, bright])[: len(bright)]
    return (bright - earlier).abs().mean((1, 2))
