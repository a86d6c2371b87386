"""Tokens and multiply-accumulates of a frame that a rule leaves fewer of from layer to layer."""

from engine.vision.backbone.macs import (
    attend_macs,
    embed_macs,
    finish_macs,
    head_macs,
    mlp_macs,
    out_macs,
    project_macs,
)
from engine.vision.backbone.tower import VisionConfig
from engine.vision.merging.reduction import Reduction


def taken(config: VisionConfig, reduction: Reduction) -> list[int]:
    """Tokens that each layer takes."""
    found = [config.tokens]
    for index in range(config.layers - 1):
        found.append(reduction.kept(index, found[-1]))
    return found


def reduced_macs(config: VisionConfig, reduction: Reduction) -> int:
    """All of a layer's tokens attend, those left go on."""
    counts = taken(config, reduction)
    total = embed_macs(config) + head_macs(config) + finish_macs(config, 1)
    for index, count in enumerate(counts):
        total += project_macs(config, count) + attend_macs(config, count, count)
        if index < config.layers - 1:
            total += out_macs(config, count) + mlp_macs(config, counts[index + 1])
            total += reduction.rule_macs(config, index, count)
    return total
