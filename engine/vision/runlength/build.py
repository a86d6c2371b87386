"""Run-length tokens from their options."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.vision.backbone.space import Space
from engine.vision.backbone.tower import VisionTower
from engine.vision.runlength.live import LiveRows
from engine.vision.runlength.mask import THRESHOLD
from engine.vision.runlength.stepper import RunLength
from engine.vision.streaming.framewise import tell_plain
from engine.vision.streaming.options import StrategyOptions
from engine.vision.streaming.sequential import Sequential
from engine.vision.streaming.strategy import Buildable, check_untrained


def build_runlength(
    tower: VisionTower, _space: Space | None, parts: Path | None, options: Mapping[str, Any]
) -> Sequential[LiveRows]:
    """Build it.

    Options: threshold (mean absolute change of a patch above which it is computed, in deviations
    of ImageNet's pixels), anchor (compare with the first frame of the run, else with the frame
    before as published), refresh (frames between full ones; 0: never).
    """
    check_untrained("runlength", parts)
    given = StrategyOptions.of("runlength", options, ("threshold", "anchor", "refresh"))
    threshold = given.number("threshold", THRESHOLD)
    stepper = RunLength(tower, threshold, given.flag("anchor", usual=False))
    tell_plain("runlength", tower)
    return Sequential(stepper, "runlength", given.count("refresh", 0))


RUNLENGTH = Buildable(build_runlength)
