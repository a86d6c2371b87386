"""Clips by tokens that are merged in every layer, as ToMe does: the baseline of those left out."""

import torch
from torch import Tensor

from engine.vision.backbone.video import VideoConfig, VideoTower
from engine.vision.merging.reduction import Attended
from engine.vision.merging.tome import ToMe


def merging(config: VideoConfig, keep: float) -> ToMe:
    """As many pairs in every layer as leave that share of the tokens after the last."""
    return ToMe(round((1 - keep) * config.tokens / config.layers), config.layers)


def score_merged(tower: VideoTower, clips: Tensor, rule: ToMe) -> Tensor:
    """Scores `[B, C]` of clips of bytes `[B, F, 3, S, S]`; autograd goes through.

    A token counts in attention, and where all are pooled, for as many as it stands for. The first
    one is merged with none before it, as a class token is not.
    """
    h = tower.embed(tower.normalise(clips))
    sizes = torch.ones(h.shape[:2], device=h.device)
    for index in range(tower.config.layers):
        layer = tower.layer(index)
        qkv, bias = layer.project(h), sizes.log()
        h = h + layer.out(layer.attend(qkv, bias))
        if rule.kept(index, h.shape[1]) < h.shape[1]:
            with torch.no_grad():  # which are merged is no number to be learned
                merge = rule.choose(index, Attended(h, qkv, layer.heads, bias=bias))
            h, sizes = merge.plainly(h, sizes)
        h = layer.feed_forward(h)
    if tower.config.class_token:
        return tower.classify(h[:, 0])
    pooled = (h.float() * sizes[..., None]).sum(1) / sizes.sum(1, keepdim=True)
    return tower.classify(pooled.to(h.dtype))
