"""Which patches begin a run, by their pixels alone, and how long the runs are."""

import torch
from torch import Tensor

from engine.errors import UsageError

THRESHOLD = 0.1  # as published
DEVIATION = (0.229, 0.224, 0.225)  # of ImageNet's pixels, in whose units thresholds are


def patch_changes(now: Tensor, before: Tensor, patch: int) -> Tensor:
    """Mean absolute change of each patch, float32 `[…, rows, columns]`, in ImageNet's deviations.

    0.1 is 5.8 of 255 levels. Sums of bytes are whole numbers, so that equal frames give 0 and
    every device gives the same.

    Args:
        now: bytes `[…, 3, S, S]`.
        before: bytes of the same shape.
        patch: edge of a patch, of which S is a multiple.
    """
    *lead, channels, high, wide = now.shape
    if high % patch or wide % patch:
        raise UsageError(f"frames of {wide} x {high} pixels; allowed: multiples of {patch}")
    change = (now.short() - before.short()).abs()
    grid = change.view(*lead, channels, high // patch, patch, wide // patch, patch)
    sums = grid.sum((-3, -1), dtype=torch.int64).float()  # [..., 3, rows, columns]
    units = sums.new_tensor(DEVIATION).mul(255 * channels * patch**2)
    return (sums / units[:, None, None]).sum(-3)


def begins_run(clips: Tensor, *, tubelet: int, patch: int, threshold: float) -> Tensor:
    """Tell which tokens of clips are kept, bool `[B, steps, rows, columns]`; all of the first step.

    A token is kept where its tubelet's last frame differs by more than the threshold from the
    first frame of the tubelet before it, kept or not, as published.

    Args:
        clips: bytes `[B, F, 3, S, S]`, F a multiple of `tubelet`.
        tubelet: frames of a token.
        patch: edge of a patch.
        threshold: as `patch_changes` counts; below 0 all are kept.
    """
    if clips.shape[1] % tubelet:
        raise UsageError(f"clips of {clips.shape[1]} frames; allowed: multiples of {tubelet}")
    firsts, lasts = clips[:, ::tubelet], clips[:, tubelet - 1 :: tubelet]
    kept = patch_changes(lasts[:, 1:], firsts[:, :-1], patch) > threshold
    first = kept.new_ones(len(kept), 1, *kept.shape[2:])
    return torch.cat([first, kept], 1)


def run_lengths(kept: Tensor) -> Tensor:
    """Return of each kept token the steps that it stands for, of others 0: int64 as `kept`.

    The lengths at one place of a clip add up to its steps.
    """
    steps = kept.shape[1]
    numbers = torch.arange(steps, device=kept.device).view(1, -1, 1, 1)
    starts = torch.where(kept, numbers, steps)
    # of each step the next start at or after it, then shifted to those strictly after
    following = starts.flip(1).cummin(1).values.flip(1)
    after = torch.cat([following[:, 1:], torch.full_like(following[:, :1], steps)], 1)
    return torch.where(kept, after - numbers, 0)
