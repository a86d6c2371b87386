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
from engine.vision.merging.rates import Rates, read_rates
from engine.vision.merging.reduction import Reduction
from engine.vision.merging.strategy import Merging
from engine.vision.merging.tome import ToMe
from engine.vision.streaming.strategy import Buildable, check_options, check_untrained


def build_diffrate(
    tower: VisionTower, _space: Space | None, parts: Path | None, options: Mapping[str, Any]
) -> Merging:
    """Build it.

    Options: rates (a JSON file in the published form, or a list of counts), model and target (which
    of the file's), rescale (fit rates to another number of tokens); or, in place of learned rates,
    gmac (counts that fall evenly and cost so many billions); proportional (merged keys count for
    all they stand for, as published for DeiT; without it as published for CLIP).
    """
    check_untrained("diffrate", parts)
    allowed = ("rates", "model", "target", "rescale", "gmac", "proportional")
    check_options("diffrate", options, allowed)
    if ("rates" in options) == ("gmac" in options):
        raise UsageError(
            "diffrate needs rates (a JSON file in the published form, or a list of kept counts) or"
            " gmac, one of the two"
        )
    rule = DiffRate(_rates(tower, options), bool(options.get("proportional", True)))
    return _merging(tower, rule, "diffrate")


def build_tome(
    tower: VisionTower, _space: Space | None, parts: Path | None, options: Mapping[str, Any]
) -> Merging:
    """Build it; options: r (pairs merged in each layer) and falling (from 2r to none)."""
    check_untrained("tome", parts)
    check_options("tome", options, ("r", "falling"))
    config, falling = tower.config, bool(options.get("falling", False))
    usual = ToMe.usual(config, falling=falling)
    return _merging(tower, ToMe(float(options.get("r", usual.r)), config.layers, falling), "tome")


def _merging(tower: VisionTower, rule: Reduction, name: str) -> Merging:
    """Fused where that is the way to run the tower."""
    rule.check(tower.config)
    if not fits(tower):
        return Merging(tower, rule, name)
    free, _ = torch.cuda.mem_get_info(tower.device)
    return Merging(
        tower, rule, name, fused=FusedMerging(tower, rule, fitting_batch(tower.config, free))
    )


def _rates(tower: VisionTower, options: Mapping[str, Any]) -> Rates:
    if "gmac" in options:
        return even_rates(tower.config, float(options["gmac"]))
    rates = read_rates(
        options["rates"],
        tower.config,
        model=_text(options.get("model")),
        target=_text(options.get("target")),
    )
    return rates.rescaled(tower.config.tokens) if options.get("rescale", False) else rates


def _text(given: Any) -> str | None:
    return None if given is None else str(given)


DIFFRATE = Buildable(build_diffrate)
TOME = Buildable(build_tome)
