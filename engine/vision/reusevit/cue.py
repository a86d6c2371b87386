"""Cue maps: what changed in each patch, from the pixels of any codec or from the codec itself."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.errors import UsageError
from engine.vision.reusevit.codec import CHANNELS, WINDOW

Cue = Literal["none", "pixels", "codec"]
CUES: tuple[Cue, ...] = ("none", "pixels", "codec")
NOTICEABLE = 12 / 255  # a difference above noise and quantisation


def pixel_cues(pixels: Tensor, previous: Tensor, patch: int) -> Tensor:
    """Change and texture of each patch, float32 `[F, 4, side, side]` in `[0, 1]`.

    The channels: mean difference to the frame before, largest one, share of pixels that differ
    noticeably, and the patch's own contrast (a difference means more where little is to be seen).

    Args:
        pixels: consecutive frames, uint8 `[F, 3, S, S]`.
        previous: the frame before the first, uint8 `[3, S, S]`; that frame itself where none is.
        patch: edge of a patch in pixels.
    """
    grey = torch.cat([previous[None], pixels]).float().mean(1, keepdim=True) / 255
    now, difference = grey[1:], grey.diff(dim=0).abs()
    mean = F.avg_pool2d(now, patch)
    contrast = (F.avg_pool2d(now.square(), patch) - mean.square()).clamp(min=0).sqrt()
    maps = (
        F.avg_pool2d(difference, patch),
        F.max_pool2d(difference, patch),
        F.avg_pool2d((difference > NOTICEABLE).float(), patch),
        contrast,
    )
    return torch.cat(maps, 1)


def codec_cues(cues: Tensor) -> Tensor:
    """Scale raw cues `[F, 4, side, side]`: block type, motion x and y in blocks, quantiser."""
    kind, motion, quantiser = cues.abs().float().split([1, 2, 1], dim=1)
    return torch.cat([kind.clamp(0, 6) / 6, motion, quantiser / 51], 1)


def windows(history: Tensor, cues: Tensor) -> Tensor:
    """Each frame's map with the three before it, oldest first: `[F, 4, 4, side, side]`.

    Args:
        history: maps of the three frames before the first, `[3, 4, side, side]`, zeros where none.
        cues: maps of the frames, `[F, 4, side, side]`.
    """
    run = torch.cat([history, cues])
    return run.unfold(0, WINDOW, 1).permute(0, 1, 4, 2, 3)


def no_history(side: int, device: torch.device) -> Tensor:
    """The maps before a stream's first frame."""
    return torch.zeros(WINDOW - 1, CHANNELS, side, side, device=device)


def check_cues(trained: Cue, given: Tensor | None, frames: int, side: int) -> None:
    """Refuse cues that the modules were not trained with, or their absence."""
    if trained != "codec" and given is not None:
        raise UsageError(f"codec cues given, but these reuse modules were trained with {trained!r}")
    if trained == "codec" and frames and given is None:
        raise UsageError("no codec cues given, but these reuse modules were trained with 'codec'")
    if given is not None and given.shape != (frames, CHANNELS, side, side):
        raise UsageError(f"cues must be {[frames, CHANNELS, side, side]}, got {list(given.shape)}")
