"""Strategies by name: built, and weighed or found by what they were trained for."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from engine.errors import UsageError, unknown
from engine.vision.backbone.space import Space
from engine.vision.backbone.tower import VisionTower
from engine.vision.reusevit.build import shipped_targets
from engine.vision.strategies import STRATEGIES
from engine.vision.streaming.strategy import Buildable, Strategy


def build_strategy(
    name: str,
    tower: VisionTower,
    *,
    space: Space | None = None,
    parts: Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> Strategy:
    """Build a strategy by its name.

    Args:
        name: one of `STRATEGIES`, ours or another distribution's.
        tower: the backbone.
        space: of the model, to find the trained modules that ship with it and to refuse others'.
        parts: a file of trained modules or calibrated limits; without it what ships, if anything.
        options: the strategy's own settings; an unknown one is an error.
    """
    buildable = STRATEGIES.find(name, Buildable)
    if tower.foreign and name != "dense":
        raise UsageError(
            f"strategy {name} needs a forward of ours, but {tower.foreign}; allowed: dense"
        )
    return buildable.build(tower, space, parts, options or {})


def read_options(given: Iterable[str]) -> dict[str, Any]:
    """Read `NAME=VALUE` and `STRATEGY.NAME=VALUE`; values are JSON, or else text."""
    found: dict[str, Any] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise UsageError(f"options are NAME=VALUE or STRATEGY.NAME=VALUE, got {each!r}")
        if name in found:
            raise UsageError(f"option {name} is given twice")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def options_of(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those for a strategy: without a strategy's name before them, or with its own."""
    own = {}
    for each, value in options.items():
        strategy, dot, option = each.rpartition(".")
        if not dot or strategy == name:
            own[option] = value
    return own


def check_named(options: Mapping[str, Any], names: Iterable[str]) -> None:
    """Refuse an option for a strategy that is not among those named."""
    for each in options:
        strategy, dot, _ = each.rpartition(".")
        if dot and strategy not in (known := tuple(names)):
            raise UsageError(unknown(f"strategy of the option {each}", strategy, known))


def fitting(space: Space, parts: Mapping[str, Path], device: str = "cpu") -> tuple[str, ...]:
    """Name the strategies that `auto` weighs for a model: those that need no training it lacks.

    On a GPU those in plain PyTorch are left out: their time falls less than their arithmetic.

    Interpolation is for those who ask for it: it never looks at the frames between, and what
    happens only there is not in a mean over the video.
    """
    trained = "reusevit" in parts or (space.model == "builtin" and len(shipped_targets()) > 0)
    plain = ("runlength", "rgtp") if device == "cpu" else ()
    return ("dense", "earlygate", *plain, *(("reusevit",) if trained else ()))


def find_trained(given: str | Path | None) -> dict[str, Path]:
    """Sort trained files by their strategy: one file, or those of a folder."""
    if given is None:
        return {}
    path = Path(given)
    if not path.exists():
        raise UsageError(
            f"no trained file at {path}; allowed: a .safetensors file, or a folder of them"
        )
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    found: dict[str, Path] = {}
    for file in files:
        name = _strategy_of(_format_of(file))
        if name is None or name in found:
            why = f"a second file for {name}" if name else "trained for no strategy"
            raise UsageError(f"{file}: {why}")
        found[name] = file
    return found


def _strategy_of(written: str) -> str | None:
    """Name the strategy that reads files of a format; ours are looked through first."""
    names = STRATEGIES.all()
    return next((n for n in names if written in STRATEGIES.find(n, Buildable).formats), None)


def _format_of(file: Path) -> str:
    try:
        with safe_open(file, framework="pt") as opened:
            said = opened.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{file}: cannot be read as safetensors: {error}") from error
    return said.get("format") or json.loads(said.get("card", "{}")).get("format", "")
