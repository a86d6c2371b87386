"""The emulated baselines from their options."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from engine.vision.backbone.space import Space
from engine.vision.backbone.tower import VisionTower
from engine.vision.emulated.fused import FusedEmulated
from engine.vision.emulated.rules import ChangeRule, Farther, Farthest
from engine.vision.emulated.stepper import Emulated
from engine.vision.fused.lanes import fitting_lanes
from engine.vision.fused.layers import fits
from engine.vision.streaming.options import StrategyOptions
from engine.vision.streaming.references import References
from engine.vision.streaming.sequential import Sequential
from engine.vision.streaming.strategy import Buildable, check_untrained

THRESHOLD = 15 / 1024  # of a value's mean change: the artifact's 15 for the 1,024 of a ViT-L/14
K = 10  # patches computed, as in the artifact


def build_cmc(
    tower: VisionTower, _space: Space | None, parts: Path | None, options: Mapping[str, Any]
) -> Sequential[References]:
    """Build it.

    Options: threshold (sum of absolute differences over a token's values from which it is
    computed; 0 is dense) and refresh (frames between full ones; 0, as published: never).
    """
    name = "cmc_emulated"
    check_untrained(name, parts)
    given = StrategyOptions.of(name, options, ("threshold", "refresh"))
    threshold = given.number("threshold", THRESHOLD * tower.config.width, least=0)
    return _sequential(tower, Farther(threshold), given)


def build_eventful(
    tower: VisionTower, _space: Space | None, parts: Path | None, options: Mapping[str, Any]
) -> Sequential[References]:
    """Build it; options: k (patch tokens computed at each gate) and refresh, as for CMC."""
    name, config = "eventful_emulated", tower.config
    check_untrained(name, parts)
    given = StrategyOptions.of(name, options, ("k", "refresh"))
    patches, k = config.tokens - int(config.class_token), given.count("k", K)
    return _sequential(tower, Farthest(min(k, patches), patches), given)


def _sequential(
    tower: VisionTower, rule: ChangeRule, given: StrategyOptions
) -> Sequential[References]:
    """Fused where that is the way to run the tower."""
    name, refresh = given.strategy, given.count("refresh", 0)
    if not fits(tower):
        return Sequential(Emulated(tower, rule), name, refresh)
    free, _ = torch.cuda.mem_get_info(tower.device)
    room = fitting_lanes(tower.config, free, 5 * (tower.config.layers - 1) * tower.config.width)
    return Sequential(FusedEmulated(tower, rule, room), name, refresh)


CMC = Buildable(build_cmc)
EVENTFUL = Buildable(build_eventful)
