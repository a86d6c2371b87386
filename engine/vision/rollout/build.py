"""Rollout-guided pruning from its options."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from engine.errors import UsageError
from engine.vision.backbone.space import Space
from engine.vision.backbone.tower import VisionTower
from engine.vision.rollout.fused import FusedRollout, fused_room, misfit_rollout
from engine.vision.rollout.select import PatchShares
from engine.vision.rollout.stepper import RolloutPruning, Warmth
from engine.vision.streaming.framewise import tell_plain
from engine.vision.streaming.options import StrategyOptions
from engine.vision.streaming.sequential import Sequential
from engine.vision.streaming.strategy import Buildable, check_untrained


def build_rgtp(
    tower: VisionTower, _space: Space | None, parts: Path | None, options: Mapping[str, Any]
) -> Sequential[Warmth]:
    """Build it.

    Options: keep (share of the patches that are foreground), foreground and background (shares of
    these and of the others that are kept), every (frames from reset to reset; 0: none), reset
    (full, 1in2 or 1in4), reach (places that a patch may move from frame to frame).
    """
    check_untrained("rgtp", parts)
    allowed = ("keep", "foreground", "background", "every", "reset", "reach")
    given, usual = StrategyOptions.of("rgtp", options, allowed), PatchShares()
    stepper = RolloutPruning(
        tower,
        PatchShares(
            **{n: given.number(n, getattr(usual, n)) for n in ("keep", "foreground", "background")}
        ),
        every=given.count("every", 8),
        reset=given.text("reset", "full"),  # type: ignore[arg-type]  # checked there
        reach=min(given.count("reach", 1), tower.config.side),
    )
    if stepper.every == 1 and stepper.reset == "full":
        raise UsageError("every 1 with full resets is dense; allowed: 0 (never), 2 or more")
    whole = stepper.reset == "full" and stepper.every > 0
    refresh = stepper.every - 1 if whole else 0
    return Sequential(quickest(stepper), "rgtp", refresh)


def quickest(plain: RolloutPruning) -> RolloutPruning | FusedRollout:
    """Graphs where they can run it, on a GPU in half precision; elsewhere the steps as they are."""
    tower = plain.tower
    half = tower.dtype in (torch.bfloat16, torch.float16)
    if tower.device.type != "cuda" or not half or misfit_rollout(tower.config):
        tell_plain("rgtp", tower)
        return plain
    free, _ = torch.cuda.mem_get_info(tower.device)
    return FusedRollout(plain, fused_room(tower.config, free))


RGTP = Buildable(build_rgtp)
