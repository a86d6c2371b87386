"""Ways to encode a sequence of frames, one a file, and how they are asked for by name."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from engine.errors import UsageError, unknown
from engine.vision.backbone.space import Space
from engine.vision.backbone.tower import VisionTower
from engine.vision.earlygate import file as gate_file
from engine.vision.earlygate.build import build_earlygate
from engine.vision.fused.dense import FusedDense, fitting_batch
from engine.vision.fused.layers import fits
from engine.vision.interpolate import Interpolate
from engine.vision.reusevit import file as reuse_file
from engine.vision.reusevit.strategy import build_reusevit, shipped_targets
from engine.vision.streaming.dense import Dense
from engine.vision.streaming.strategy import Strategy

Builder = Callable[[VisionTower, Space | None, Path | None, Mapping[str, Any]], Strategy]


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
        name: one of `STRATEGIES`.
        tower: the backbone.
        space: of the model, to find the trained parts that ship with it and to refuse others'.
        parts: a file of trained or calibrated parts; without it the shipped ones, if there are any.
        options: the strategy's own settings; an unknown one is an error.
    """
    if name not in STRATEGIES:
        raise UsageError(unknown("strategy", name, STRATEGIES))
    return STRATEGIES[name](tower, space, parts, options or {})


def _dense(
    tower: VisionTower, _space: Space | None, parts: Path | None, options: Mapping[str, Any]
) -> Dense:
    _refuse("dense", parts, options, ())
    if not fits(tower):
        return Dense(tower)
    free, _ = torch.cuda.mem_get_info(tower.device)
    return Dense(tower, fused=FusedDense(tower, fitting_batch(tower.config, free)))


def _interpolate(
    tower: VisionTower, _space: Space | None, parts: Path | None, options: Mapping[str, Any]
) -> Strategy:
    _refuse("interpolate", parts, options, ("every",))
    return Interpolate(tower, int(options.get("every", 2)), _dense(tower, None, None, {}))


def _refuse(
    name: str, parts: Path | None, options: Mapping[str, Any], allowed: tuple[str, ...]
) -> None:
    if parts is not None:
        raise UsageError(f"strategy {name} has no parts, got {parts}")
    for option in options:
        if option not in allowed:
            raise UsageError(unknown(f"option of {name}", option, allowed))


STRATEGIES: dict[str, Builder] = {
    "dense": _dense,
    "earlygate": build_earlygate,
    "interpolate": _interpolate,
    "reusevit": build_reusevit,
}
NAMES = ("auto", *STRATEGIES)  # that may be asked for; auto takes the fastest that keeps the bound


def fitting(space: Space, parts: Mapping[str, Path]) -> tuple[str, ...]:
    """Name the strategies that `auto` weighs for a model: those that need no training it lacks.

    Interpolation is for those who ask for it: it never looks at the frames between, and what
    happens only there is not in a mean over the video.
    """
    trained = "reusevit" in parts or (space.model == "builtin" and len(shipped_targets()) > 0)
    return ("dense", "earlygate", *(("reusevit",) if trained else ()))


def find_parts(path: Path | None) -> dict[str, Path]:
    """Sort trained and calibrated parts by their strategy: one file, or those of a folder."""
    if path is None:
        return {}
    if not path.exists():
        raise UsageError(f"no parts at {path}; allowed: a .safetensors file, or a folder of them")
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    found: dict[str, Path] = {}
    for file in files:
        name = _PARTS.get(_format_of(file))
        if name is None or name in found:
            why = f"a second file for {name}" if name else "neither gate limits nor reuse parts"
            raise UsageError(f"{file}: {why}")
        found[name] = file
    return found


_PARTS = {**dict.fromkeys(gate_file.READABLE, "earlygate"), reuse_file.FORMAT: "reusevit"}


def _format_of(file: Path) -> str:
    try:
        with safe_open(file, framework="pt") as opened:
            said = opened.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{file}: cannot be read as safetensors: {error}") from error
    return said.get("format") or json.loads(said.get("card", "{}")).get("format", "")
