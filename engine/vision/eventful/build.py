"""Eventful from its options."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.vision.backbone.space import Space
from engine.vision.backbone.tower import VisionTower
from engine.vision.eventful.buffers import Buffers
from engine.vision.eventful.stepper import Eventful
from engine.vision.streaming.framewise import tell_plain
from engine.vision.streaming.sequential import Sequential
from engine.vision.streaming.strategy import Buildable, check_options, check_untrained


def build_eventful(
    tower: VisionTower, _space: Space | None, parts: Path | None, options: Mapping[str, Any]
) -> Sequential[Buffers]:
    """Build it.

    Options: r (tokens that each gate lets through; a quarter unless given), products (attention by
    its changes, as published in full; else made anew, "tokenwise"), keep_class (the class token
    always passes; without it as published), refresh (frames between full ones; 0: never).
    """
    check_untrained("eventful", parts)
    check_options("eventful", options, ("r", "products", "keep_class", "refresh"))
    stepper = Eventful(
        tower,
        int(options.get("r", max(tower.config.tokens // 4, 1))),
        products=bool(options.get("products", True)),
        keep_class=bool(options.get("keep_class", True)),
    )
    tell_plain("eventful", tower)
    return Sequential(stepper, "eventful", int(options.get("refresh", 0)))


EVENTFUL = Buildable(build_eventful)
