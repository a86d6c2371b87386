"""Encode times as features that a network reads."""

import torch
from torch import Tensor

PERIODS = 16  # of the sines that tell the time, from a quarter of a second to minutes
VALUES = 2 * PERIODS + 1


def clock(seconds: Tensor, shown: Tensor) -> Tensor:
    """Sines and cosines of times `[B, F]`, and their share of the video, `[B, F, VALUES]`.

    `shown` tells frames from padding.
    """
    length = (seconds * shown).amax(1, keepdim=True).clamp_min(1e-3)
    rates = 2 * torch.pi / (0.25 * 2 ** torch.linspace(0, 10, PERIODS, device=seconds.device))
    angles = seconds[..., None] * rates
    return torch.cat([angles.sin(), angles.cos(), (seconds / length)[..., None]], dim=-1)
