"""Scene cuts, seen in the pixels alone."""

import torch
from torch import Tensor
from torch.nn import functional as F

TOGETHER = 256  # frames that are widened to floats at once


def sketch(pixels: Tensor, patch: int) -> Tensor:
    """Mean colour of each patch, 0 to 1: float32 `[F, 3, side, side]` of bytes `[F, 3, S, S]`."""
    parts = [F.avg_pool2d(part.float(), patch) / 255 for part in pixels.split(TOGETHER)]
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def brightness(sketches: Tensor) -> Tensor:
    """Brightness of each patch, 0 to 1: `[F, side, side]` of mean colours `[F, 3, side, side]`."""
    return sketches.mean(1)


def changes(bright: Tensor, before: Tensor | None) -> Tensor:
    """Mean absolute change of each frame's brightness from the one before it: float32 `[F]`.

    A frame with nothing before it has changed by 1, all there is.
    """
    first = bright[:1] + 1 if before is None else before[None]
    earlier = torch.cat([first, bright])[: len(bright)]
    return (bright - earlier).abs().mean((1, 2))


def kind_of(stream: Tensor, patch: int) -> str:
    """Say what a stream is like: still, moving, or cut."""
    change = changes(brightness(sketch(stream, patch)), None)[1:]
    if bool((change > 0.12).any()):
        return "cut"
    return "still" if float(change.mean()) < 0.015 else "moving"
