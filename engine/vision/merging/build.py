"""DiffRate and ToMe from their options."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from engine.errors import UsageError
from engine.vision.backbone.space import Space
from engine.vision.backbone.tower import VisionTower
from engine.vision.fused.frames import fitting_batch
from engine.vision.fused.layers import fits
from engine.vision.merging.diffrate import DiffRate
from engine.vision.merging.even import even_rates
from engine.vision.merging.fused import FusedMerging
from engine.vision.merging.rates import SHIPPED, Rates, read_rates
from engine.vision.merging.reduction import Reduction
from engine.vision.merging.strategy import Merging
from engine.vision.merging.tome import ToMe
from engine.vision.streaming.options import StrategyOptions
from engine.vision.streaming.strategy import Buildable, check_untrained


def build_diffrate(
    tower: VisionTower, space: Space | None, parts: Path | None, options: Mapping[str, Any]
) -> Merging:
    """Build it.

    Options: rates (a JSON file in the published form, or a list of counts), model and target (which
    of the file's), rescale (fit rates to another number of tokens); or, in place of learned rates,
    gmac (counts that fall evenly and cost so many billions); proportional (merged keys count for
    all they stand for, as published for DeiT; without it as published for CLIP). For the built-in
    model rates ship: target is then the share of dense's cost, a half without it.
    """
    check_untrained("diffrate", parts)
    allowed = ("rates", "model", "target", "rescale", "gmac", "proportional")
    if _ship_for(space) and not {"rates", "gmac", "model"} & set(options):
        options = {"target": "0.5", **options, "rates": SHIPPED, "model": "builtin"}
    given = StrategyOptions.of("diffrate", options, allowed)
    if ("rates" in options) == ("gmac" in options):
        raise UsageError(
            "diffrate needs rates (a JSON file in the published form, or a list of kept counts) or"
            " gmac, one of the two"
        )
    rule = DiffRate(_rates(tower, given), given.flag("proportional", usual=True))
    return _merging(tower, rule, "diffrate")


def build_tome(
    tower: VisionTower, _space: Space | None, parts: Path | None, options: Mapping[str, Any]
) -> Merging:
    """Build it; options: r (pairs merged in each layer) and falling (from 2r to none)."""
    check_untrained("tome", parts)
    given = StrategyOptions.of("tome", options, ("r", "falling"))
    config, falling = tower.config, given.flag("falling", usual=False)
    usual = ToMe.usual(config, falling=falling).r
    pairs = given.number("r", usual, least=0, most=config.tokens)
    return _merging(tower, ToMe(pairs, config.layers, falling), "tome")


def _ship_for(space: Space | None) -> bool:
    return space is not None and space.model == "builtin"


def _merging(tower: VisionTower, rule: Reduction, name: str) -> Merging:
    """Fused where that is the way to run the tower."""
    rule.check(tower.config)
    if not fits(tower):
        return Merging(tower, rule, name)
    free, _ = torch.cuda.mem_get_info(tower.device)
    return Merging(
        tower, rule, name, fused=FusedMerging(tower, rule, fitting_batch(tower.config, free))
    )


def _rates(tower: VisionTower, given: StrategyOptions) -> Rates:
    if "gmac" in given.given:
        if idle := {"model", "target", "rescale"} & set(given.given):
            raise UsageError(f"diffrate by gmac takes no {min(idle)}: that is of learned rates")
        return even_rates(tower.config, given.number("gmac", 0.0, least=0))
    rates = read_rates(
        given.given["rates"], tower.config, model=given.text("model"), target=given.text("target")
    )
    return rates.rescaled(tower.config.tokens) if given.flag("rescale", usual=False) else rates


DIFFRATE = Buildable(build_diffrate)
TOME = Buildable(build_tome)
