"""Multiply-accumulates of a frame of Eventful."""

import torch
from torch import Tensor

from engine.vision.backbone.macs import (
    attend_macs,
    dense_macs,
    embed_macs,
    finish_macs,
    head_macs,
    project_macs,
)
from engine.vision.backbone.tower import VisionConfig


def step_macs(config: VisionConfig, computed: Tensor, full: Tensor, *, products: bool) -> Tensor:
    """Of frames `[F]`; those of gates and sums, one for each value, among them."""
    rows = computed.double()
    n, d = config.tokens, config.width
    # a gate measures every token; delta gates and sums touch every value of what they keep
    anew = 3 * n * d + config.heads * n * n if products else attend_macs(config, n)
    row = project_macs(config, 1) + (2 * attend_macs(config, 1) + d if products else 0)
    tails = config.layers - int(config.by_class)
    gated = (
        embed_macs(config)
        + head_macs(config)
        + config.layers * (n * d + anew)
        + tails * 2 * n * d
        + (finish_macs(config, 1) if config.by_class else 0)
        + rows.sum(1) * row
        + rows[:, :tails].sum(1) * finish_macs(config, 1)
    )
    return torch.where(full, float(dense_macs(config)), gated)


def scaled_r(config: VisionConfig, r: int, scale: float) -> int:
    """Tokens that pass where that many times as many are held back; at 0 all."""
    return max(1, round(config.tokens - (config.tokens - r) * scale))
