"""The settings that a comparison goes through, by family."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from engine.errors import UsageError
from engine.evaluation.compare import DENSE, Setting
from engine.vision.backbone.locate import BUILTIN
from engine.vision.backbone.space import Space
from engine.vision.backbone.tower import VisionTower
from engine.vision.earlygate.bridge import Bridge
from engine.vision.earlygate.build import build_earlygate
from engine.vision.earlygate.learned import LearnedLimits
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.earlygate.strategy import EarlyGate
from engine.vision.model import Model
from engine.vision.registry import build_strategy
from engine.vision.reusevit.build import shipped_targets
from engine.vision.reusevit.strategy import ReuseViT

EVERY = (2, 3, 4, 6)  # of interpolation: each so many-th frame is embedded
UNTRAINED = (0.05, 0.1, 0.2, 0.3, 0.45, 0.6)  # one threshold for all layers
BRIDGED = (0.55, 0.7, 0.85, 1.0, 1.25, 1.6)  # of one threshold for layer 1, and of the bridge
SCALES = (0.5, 0.7, 0.85, 1.0, 1.2)  # of what was calibrated or trained
INTERPOLATE, REUSEVIT, GATE = "interpolate", "ReuseViT", "gate"


def plain_settings(tower: VisionTower) -> list[Setting]:
    """What needs no parts: dense, interpolation, the untrained gate without and with a bridge."""
    found = [Setting(DENSE, "", build_strategy("dense", tower))]
    for every in EVERY:
        fewer = build_strategy("interpolate", tower, options={"every": every})
        found.append(Setting(INTERPOLATE, str(every), fewer))
    gate = build_earlygate(tower, None, None, {})
    for threshold in UNTRAINED:
        limits = FixedLimits.uniform(tower.config, threshold)
        found.append(Setting(f"{GATE} untrained", f"{threshold:g}", replace(gate, limits=limits)))
    limits = FixedLimits.single(tower.config, 0.2)
    bridged = replace(gate, limits=limits, bridge=Bridge(limit=0.04, novelty=0.4), fused=None)
    return found + [
        Setting(f"{GATE} bridged", f"×{scale:g}", bridged.with_scale(scale)) for scale in BRIDGED
    ]


def scaled_settings(gate: EarlyGate, name: str = "") -> list[Setting]:
    """Return a gate at several scales of its limits, named by what they are."""
    family = f"{GATE} {name}" if name else f"{GATE} {_made(gate)}"
    return [Setting(family, f"×{scale:g}", gate.with_scale(scale)) for scale in SCALES]


def model_settings(model: Model, parts: Sequence[Path] = ()) -> list[Setting]:
    """All of `plain_settings`, what ships for the model, and what is in the files given."""
    found = plain_settings(model.tower)
    tower, space = model.tower, model.space
    if space.model == "builtin":
        if (BUILTIN / "earlygate.safetensors").exists():
            found += scaled_settings(build_earlygate(tower, space, None, {}))
        for target in shipped_targets():
            reuse = build_strategy("reusevit", tower, space=space, options={"target": target})
            found.append(Setting(REUSEVIT, target, reuse))
    return found + [each for path in parts for each in _file_settings(path, tower, space)]


def _file_settings(path: Path, tower: VisionTower, space: Space) -> list[Setting]:
    """Settings of one file, named `earlygate-NAME` or `reusevit-NAME`."""
    kind, _, name = path.stem.partition("-")
    if kind == "earlygate":
        return scaled_settings(build_earlygate(tower, space, path, {}), name)
    if kind == "reusevit":
        strategy = build_strategy("reusevit", tower, space=space, parts=path)
        assert isinstance(strategy, ReuseViT)
        made, _, target = name.rpartition("-")
        return [Setting(f"{REUSEVIT} {made}".strip(), target, strategy)]
    raise UsageError(
        f"parts {path.name}; allowed: earlygate-NAME.safetensors, reusevit-NAME-TARGET.safetensors"
    )


def _made(gate: EarlyGate) -> str:
    return "trained" if isinstance(gate.limits, LearnedLimits) else "calibrated"
