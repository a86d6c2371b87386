"""Scene cuts, seen in the pixels alone."""

import torch
from torch import Tensor
from torch.nn import functional as F


def sketch(pixels: Tensor, patch: int) -> Tensor:
    """Mean brightness of each patch, 0 to 1: float32 `[F, side, side]` of bytes `[F, 3, S, S]`."""
    return F.avg_pool2d(pixels.float(), patch).mean(1) / 255


def changes(sketches: Tensor, before: Tensor | None) -> Tensor:
    """Mean absolute change of each frame's sketch from the one before it: float32 `[F]`.

    A frame with nothing before it has changed by 1, all there is.
    """
    first = sketches[:1] + 1 if before is None else before[None]
    earlier = torch.cat([first, sketches])[: len(sketches)]
    return (sketches - earlier).abs().mean((1, 2))
