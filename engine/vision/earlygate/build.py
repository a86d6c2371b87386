"""The early gate from its file and options."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from engine.errors import UsageError
from engine.vision.backbone.locate import BUILTIN
from engine.vision.backbone.space import Space
from engine.vision.backbone.tower import VisionTower
from engine.vision.earlygate.bridge import Bridge
from engine.vision.earlygate.file import READABLE, GateCard, GateFile, load_gate
from engine.vision.earlygate.fused import FusedGate
from engine.vision.earlygate.learned import LearnedLimits
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.earlygate.memory import fitting_streams
from engine.vision.earlygate.strategy import EarlyGate
from engine.vision.fused.layers import fits
from engine.vision.streaming.options import StrategyOptions
from engine.vision.streaming.refresh import Refresh
from engine.vision.streaming.schedule import Schedule
from engine.vision.streaming.strategy import Buildable

OPTIONS = (
    *("threshold", "scale", "refresh", "cut", "budget", "bridge", "novelty", "sequential"),
    "streams",
)
UNTRAINED = 0.2  # relative difference: 2 % mean drift on natural clips with a small ViT


def build_earlygate(
    tower: VisionTower, space: Space | None, parts: Path | None, options: Mapping[str, Any]
) -> EarlyGate:
    """Build the gate from `parts`, from what ships with the model, or untrained.

    Options: threshold (one for all layers, untrained), scale (of all limits), refresh (frames
    between full ones), cut and budget (of pixel change), bridge and novelty (of frames that are
    interpolated), sequential, streams (that the fused forward has room for; used where it fits, on
    a GPU in half precision).
    """
    given = StrategyOptions.of("earlygate", options, OPTIONS)
    given.count("streams", 1, least=1)  # refused where none is fused, too
    if "threshold" in options and parts is not None:
        raise UsageError(f"threshold is for an untrained gate, got parts {parts} as well")
    gate = _limits(tower, space, parts, given)
    limits, refresh, bridge = gate.limits, gate.card.refresh, gate.card.bridge
    if isinstance(limits, LearnedLimits):
        limits = limits.to(tower.position)
    built = EarlyGate(
        tower=tower,
        limits=limits,
        refresh=Refresh(
            cut=given.number("cut", refresh.cut), budget=given.number("budget", refresh.budget)
        ),
        schedule=Schedule(given.count("refresh", 0)),
        sequential=given.flag("sequential", usual=False),
        bridge=Bridge(
            limit=given.number("bridge", bridge.limit),
            novelty=given.number("novelty", bridge.novelty),
        ),
        fused=_fuse(tower, limits, given) if fits(tower) else None,
    )
    return built.with_scale(given.number("scale", 1.0, least=0))


def _fuse(
    tower: VisionTower, limits: FixedLimits | LearnedLimits, given: StrategyOptions
) -> FusedGate:
    free, _ = torch.cuda.mem_get_info(tower.device)
    most = fitting_streams(tower.config, limits.width(tower.config), free)
    return FusedGate(tower, limits, given.count("streams", most, least=1))


def _limits(
    tower: VisionTower, space: Space | None, parts: Path | None, given: StrategyOptions
) -> GateFile:
    shipped = BUILTIN / "earlygate.safetensors"
    if parts is None and "threshold" not in given.given and space and space.model == "builtin":
        parts = shipped if shipped.exists() else None
    if parts is not None:
        return load_gate(parts, tower.config, weight_hash=space.weight_hash if space else "")
    threshold = given.number("threshold", UNTRAINED, least=0)
    return GateFile(FixedLimits.uniform(tower.config, threshold), GateCard("any", "", 0.0))


EARLYGATE = Buildable(build_earlygate, READABLE)
