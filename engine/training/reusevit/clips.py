"""Batches of training clips: frames in slot order, and their cues."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.training.reusevit.frames import FrameSource, Window
from engine.training.reusevit.pattern import Pattern
from engine.vision.reusevit.cue import codec_cues, no_history, pixel_cues, windows
from engine.vision.reusevit.modules import ReuseModules


@dataclass(frozen=True, slots=True)
class ClipBatch:
    """Clips of one step."""

    pixels: Tensor  # uint8 [B, F, 3, S, S], in slot order
    maps: Tensor | None  # cue windows [B, F, 4, 4, side, side]


def batches(
    source: FrameSource,
    pattern: Pattern,
    modules: ReuseModules,
    *,
    epoch: int,
    batch: int,
    skip: int,
    patch: int,
    device: torch.device,
) -> Iterator[ClipBatch]:
    """Full batches of an epoch after the first `skip`; what is left over at the end is dropped."""
    waiting: list[Window] = []
    number = 0
    for window in source.windows(pattern.span, epoch):
        waiting.append(window)
        if len(waiting) == batch:
            if number >= skip:
                yield _batch(waiting, pattern, modules, patch, device)
            number += 1
            waiting = []


def clip_cues(
    modules: ReuseModules, clips: Sequence[Window], patch: int, device: torch.device
) -> Tensor | None:
    """The codec net's numbers `[B, F, patches]` for all frames of clips of one length."""
    maps = cue_maps(modules, clips, patch, device)
    return None if maps is None else modules.cue(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])


def cue_maps(
    modules: ReuseModules, clips: Sequence[Window], patch: int, device: torch.device
) -> Tensor | None:
    """Cue windows `[B, F, 4, 4, side, side]` for all frames of clips of one length."""
    trained = modules.config.cue
    if trained == "none":
        return None
    found = []
    for clip in clips:
        pixels = clip.pixels.to(device, non_blocking=True)
        if trained == "codec":
            assert clip.cues is not None
            maps = codec_cues(clip.cues.to(device))
        else:
            maps = pixel_cues(pixels, pixels[0], patch)
        found.append(windows(no_history(maps.shape[-1], device), maps))
    return torch.stack(found)


def _batch(
    clips: list[Window], pattern: Pattern, modules: ReuseModules, patch: int, device: torch.device
) -> ClipBatch:
    slots = list(pattern.offsets)
    maps = cue_maps(modules, clips, patch, device)
    return ClipBatch(
        pixels=torch.stack([clip.pixels[slots] for clip in clips]).to(device, non_blocking=True),
        maps=None if maps is None else maps[:, slots],
    )
