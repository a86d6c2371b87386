"""Multiply-accumulates of a frame of the emulated baselines."""

from torch import Tensor

from engine.vision.backbone.macs import finish_macs, project_macs, unskippable_macs
from engine.vision.backbone.tower import VisionConfig


def step_macs(config: VisionConfig, computed: Tensor, full: Tensor) -> Tensor:
    """Attention of all tokens, the rest of those computed, and comparisons, `[F]`."""
    row = finish_macs(config, 1) + project_macs(config, 1)
    compared = (config.layers - 1) * (config.tokens - int(config.class_token)) * config.width
    rows = computed[:, 1:].sum(1).double()
    return unskippable_macs(config) + row * rows + compared * (~full).double()
