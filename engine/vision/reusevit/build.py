"""ReuseViT from its file and options."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.errors import UsageError, unknown
from engine.vision.backbone.locate import BUILTIN
from engine.vision.backbone.space import Space
from engine.vision.backbone.tower import VisionTower
from engine.vision.reusevit.file import FORMAT, load_modules
from engine.vision.reusevit.strategy import ReuseViT
from engine.vision.streaming.options import StrategyOptions
from engine.vision.streaming.refresh import Refresh
from engine.vision.streaming.schedule import Schedule
from engine.vision.streaming.strategy import Buildable, named_like

OPTIONS = ("target", "refresh", "cut", "budget", "bias")
DEFAULT_TARGET = "0.80"


def build_reusevit(
    tower: VisionTower, space: Space | None, parts: Path | None, options: Mapping[str, Any]
) -> ReuseViT:
    """Load reuse modules trained for this backbone, the shipped ones if none are named.

    Options: `target` (which of the shipped ones), `refresh` (frames between full ones), `cut` and
    `budget` (of pixel change, as for the early gate) and `bias` (added to every logit of reuse).
    """
    given = StrategyOptions.of("reusevit", options, OPTIONS)
    if parts is not None and "target" in options:
        raise UsageError(f"target chooses among shipped modules, got parts {parts} as well")
    path = parts or shipped_modules(space, given.text("target"))
    loaded = load_modules(path, tower.config, weight_hash=space.weight_hash if space else "")
    usual = Refresh()
    return ReuseViT(
        tower,
        loaded.modules,
        schedule=Schedule(given.count("refresh", loaded.card.refresh)),
        refresh=Refresh(
            cut=given.number("cut", usual.cut), budget=given.number("budget", usual.budget)
        ),
        bias=given.number("bias", 0.0),
    )


def shipped_modules(space: Space | None, target: str | None = None) -> Path:
    """Where the modules lie that ship with the built-in model; other models have none."""
    if space is None or space.model != "builtin":
        raise UsageError(
            "reusevit needs modules trained for this model: name a file, or make one with "
            "`dejavu-engine train reuse`"
        )
    wanted, found = target or DEFAULT_TARGET, shipped_targets()
    known = named_like(wanted, found)
    if known is None:
        raise UsageError(unknown("target", wanted, found))
    return BUILTIN / f"reusevit-{known}.safetensors"


def shipped_targets() -> tuple[str, ...]:
    """The targets of the modules that ship with the built-in model, least first."""
    files = BUILTIN.glob("reusevit-*.safetensors")
    return tuple(sorted(path.stem.removeprefix("reusevit-") for path in files))


REUSEVIT = Buildable(build_reusevit, (FORMAT,))
