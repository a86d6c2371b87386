"""Eventful from its options."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from engine.vision.backbone.space import Space
from engine.vision.backbone.tower import VisionTower
from engine.vision.eventful.buffers import Buffers
from engine.vision.eventful.fused import FusedEventful
from engine.vision.eventful.stepper import Eventful
from engine.vision.fused.lanes import fitting_lanes
from engine.vision.fused.layers import fits
from engine.vision.streaming.framewise import tell_plain
from engine.vision.streaming.options import StrategyOptions
from engine.vision.streaming.sequential import Sequential
from engine.vision.streaming.strategy import Buildable, check_untrained


def build_eventful(
    tower: VisionTower, _space: Space | None, parts: Path | None, options: Mapping[str, Any]
) -> Sequential[Buffers]:
    """Build it.

    Options: r (tokens that each gate lets through; a quarter unless given), products (attention by
    its changes, as published in full; else made anew, "tokenwise"), keep_class (the class token
    always passes; without it as published), refresh (frames between full ones; 0: never).
    """
    check_untrained("eventful", parts)
    allowed = ("r", "products", "keep_class", "refresh")
    given = StrategyOptions.of("eventful", options, allowed)
    config, refresh = tower.config, given.count("refresh", 0)
    r = given.count("r", max(config.tokens // 4, 1), least=1)
    products = given.flag("products", usual=True)
    keep_class = given.flag("keep_class", usual=True)
    plain = Eventful(tower, r, products=products, keep_class=keep_class)
    if products or not fits(tower):
        if products:
            tell_plain("eventful with products", tower)
        return Sequential(plain, "eventful", refresh)
    free, _ = torch.cuda.mem_get_info(tower.device)
    room = fitting_lanes(config, free, 8 * config.layers * config.width)
    fused = FusedEventful(tower, plain.r, room, keep_class=keep_class)
    return Sequential(fused, "eventful", refresh)


EVENTFUL = Buildable(build_eventful)
