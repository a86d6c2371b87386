"""The settings that a comparison goes through, by family."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.errors import UsageError, unknown
from engine.evaluation.compare import DENSE, Setting
from engine.vision.backbone.locate import BUILTIN
from engine.vision.backbone.macs import dense_macs
from engine.vision.backbone.space import Space
from engine.vision.backbone.tower import VisionTower
from engine.vision.earlygate.bridge import Bridge
from engine.vision.earlygate.build import build_earlygate
from engine.vision.earlygate.learned import LearnedLimits
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.earlygate.strategy import EarlyGate
from engine.vision.emulated.build import THRESHOLD
from engine.vision.merging.rates import SHIPPED, targets_of
from engine.vision.model import Model
from engine.vision.registry import build_strategy, check_named, find_trained, options_of
from engine.vision.reusevit.build import shipped_targets
from engine.vision.reusevit.strategy import ReuseViT
from engine.vision.streaming.strategy import Strategy

EVERY = (2, 3, 4, 6)  # of interpolation: each so many-th frame is embedded
UNTRAINED = (0.05, 0.1, 0.2, 0.3, 0.45, 0.6)  # one threshold for all layers
BRIDGED = (0.55, 0.7, 0.85, 1.0, 1.25, 1.6)  # of one threshold for layer 1, and of the bridge
MERGED = (0.25, 0.5, 0.75, 0.95)  # of the tokens that ToMe's layers merge away together
EVEN = (0.8, 0.6, 0.45, 0.35)  # of dense's cost, by DiffRate's counts where none are learned
PASSED = (2, 4, 8, 16)  # one token of so many that a gate of Eventful lets through
CHANGED = (4, 8, 12, 16, 24)  # times CMC's threshold: DeiT's values are larger than CLIP's
RUNS = (0.05, 0.1, 0.2, 0.4)  # thresholds of run-length tokens, as published
GUIDED = (0.5, 0.25, 0.1)  # shares of the patches that the rollout keeps
SCALES = (0.5, 0.7, 0.85, 1.0, 1.2)  # of what was calibrated or trained
INTERPOLATE, REUSEVIT, GATE = "interpolate", "ReuseViT", "gate"
BRIDGE = "bridge alone"  # frames between agreeing ones interpolated, the others whole


def plain_settings(tower: VisionTower) -> list[Setting]:
    """What needs no parts: dense, interpolation, the untrained gate, also bridged, and a bridge."""
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
    alone = replace(bridged, limits=FixedLimits.none(tower.config))
    return found + [
        Setting(name, f"×{scale:g}", each.with_scale(scale))
        for name, each in ((f"{GATE} bridged", bridged), (BRIDGE, alone))
        for scale in BRIDGED
    ]


def published_settings(
    tower: VisionTower, rates: Path | None = None, model: str | None = None
) -> list[Setting]:
    """Other methods that need no training: of one frame, and of a frame and the one before it.

    DiffRate's rates are those of the model in a file, with every target; without one they fall
    evenly.
    """
    config, dense = tower.config, dense_macs(tower.config) / 1e9
    wanted: list[tuple[str, str, Any]] = [
        ("diffrate", target, {"rates": rates, "model": model, "target": target})
        for target in (targets_of(rates, _named(model)) if rates else ())
    ]
    if rates is None:
        budgets = [share * dense for share in EVEN]
        wanted += [("diffrate", f"even {gmac:.2g} G", {"gmac": gmac}) for gmac in budgets]
    pairs = dict.fromkeys(round(share * config.tokens / config.layers) for share in MERGED)
    wanted += [("tome", f"r {r}", {"r": r}) for r in pairs]
    passed = dict.fromkeys(max(1, config.tokens // share) for share in PASSED)
    for name, option in (("eventful", "r"), ("eventful_emulated", "k")):
        wanted += [(name, f"{option} {few}", {option: few}) for few in passed]
    wanted += [("runlength", f"τ {limit:g}", {"threshold": limit}) for limit in RUNS]
    wanted += [("rgtp", f"keep {share:g}", {"keep": share}) for share in GUIDED]
    limits = [times * THRESHOLD * config.width for times in CHANGED]
    wanted += [("cmc_emulated", f"T {limit:.3g}", {"threshold": limit}) for limit in limits]
    return [
        Setting(name, value, build_strategy(name, tower, options=options))
        for name, value, options in wanted
    ]


def named_strategies(
    tower: VisionTower,
    space: Space | None,
    names: Sequence[str],
    *,
    parts: Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Strategy]:
    """Dense, then strategies by name, with what a file or a folder of parts holds for each.

    Options are for all that are named, `strategy.option` for one of them; one that a strategy lacks
    is refused.
    """
    found, given = find_trained(parts), options or {}
    check_named(given, names)
    if idle := sorted(found.keys() - set(names)):
        raise UsageError(f"parts of {', '.join(idle)}, which is not among the strategies named")
    judged = {DENSE: build_strategy(DENSE, tower, space=space)}
    for name in names:
        if name != DENSE:
            judged[name] = build_strategy(
                name, tower, space=space, parts=found.get(name), options=options_of(name, given)
            )
    return judged


def _named(model: str | None) -> str:
    if model is None:
        raise UsageError("a file of rates needs the model's name in it, such as ViT-T-DeiT")
    return model


def scaled_settings(gate: EarlyGate, name: str = "") -> list[Setting]:
    """Return a gate at several scales of its limits, named by what they are."""
    family = f"{GATE} {name}" if name else f"{GATE} {_made(gate)}"
    return [Setting(family, f"×{scale:g}", gate.with_scale(scale)) for scale in SCALES]


def model_settings(
    model: Model,
    parts: Sequence[Path] = (),
    *,
    rates: Path | None = None,
    rates_model: str | None = None,
) -> list[Setting]:
    """All that needs no parts, what ships for the model, and what is in the files given."""
    tower, space = model.tower, model.space
    if space.model == "builtin" and rates is None:
        rates, rates_model = SHIPPED, "builtin"
    found = plain_settings(tower)
    if tower.config.by_class:
        found += published_settings(tower, rates, rates_model)
    if space.model == "builtin":
        if (BUILTIN / "earlygate.safetensors").exists():
            shipped = build_earlygate(tower, space, None, {})
            found += scaled_settings(shipped)
            found += scaled_settings(replace(shipped, bridge=Bridge()), "no bridge")
        for target in shipped_targets():
            reuse = build_strategy("reusevit", tower, space=space, options={"target": target})
            found.append(Setting(REUSEVIT, target, reuse))
    return found + [each for path in parts for each in _file_settings(path, tower, space)]


def chosen_settings(settings: Sequence[Setting], names: Sequence[str]) -> list[Setting]:
    """Dense, and those of the families or with the labels that are named; all without names."""
    if not names:
        return list(settings)
    families, labels = ({getattr(s, kind) for s in settings} for kind in ("family", "label"))
    for name in names:
        if name not in families | labels:
            raise UsageError(unknown("family or setting", name, families, more=labels))
    return [each for each in settings if {DENSE, *names} & {each.family, each.label}]


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
