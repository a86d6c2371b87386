"""Calibrated or trained limits on disk, bound to the backbone they were made for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from engine.errors import ModelError
from engine.vision.backbone.space import Space
from engine.vision.backbone.tower import VisionConfig
from engine.vision.earlygate.bridge import Bridge
from engine.vision.earlygate.learned import LearnedLimits
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.streaming.refresh import Refresh

FORMAT = "dejavu-earlygate-2"
READABLE = ("dejavu-earlygate-1", FORMAT)  # the first knew no bridge


@dataclass(frozen=True, slots=True)
class GateCard:
    """What a file of limits says about itself."""

    backbone: str  # the id of the model that they were made for
    weight_hash: str  # sha256 of its weights
    max_drift: float  # the mean drift that they were made to keep
    refresh: Refresh = field(default_factory=Refresh)
    bridge: Bridge = field(default_factory=Bridge)
    report: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, space: Space, max_drift: float, report: Mapping[str, Any]) -> "GateCard":
        """Say that limits were found for a model, under a bound."""
        return cls(space.model, space.weight_hash, max_drift, report=report)


@dataclass(frozen=True, slots=True)
class GateFile:
    """Limits with what their file says."""

    limits: FixedLimits | LearnedLimits
    card: GateCard


def save_gate(path: Path, gate: GateFile) -> None:
    """Write the thresholds, the learned part of the gates if there is one, and the card."""
    limits, card = gate.limits, gate.card
    if isinstance(limits, LearnedLimits):
        rows = [index - 1 for index in limits.gates]
        tensors = {name: tensor[rows].contiguous() for name, tensor in limits.tensors().items()}
        thresholds = limits.base
    else:
        tensors, thresholds = {}, limits
    tensors["thresholds"] = torch.tensor(thresholds.thresholds) * thresholds.scale
    said = {
        "format": FORMAT,
        "backbone": card.backbone,
        "weight_hash": card.weight_hash,
        "max_drift": card.max_drift,
        "cut": card.refresh.cut,
        "budget": card.refresh.budget,
        "bridge": card.bridge.limit,
        "novelty": card.bridge.novelty,
        "report": card.report,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, {"card": json.dumps(said)})


def load_gate(path: Path, config: VisionConfig, *, weight_hash: str) -> GateFile:
    """Read limits; those of another backbone are refused."""
    try:
        with safe_open(path, framework="pt") as opened:
            said = json.loads((opened.metadata() or {}).get("card", "{}"))
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: no file of gate limits ({error})") from error
    if said.get("format") not in READABLE:
        raise ModelError(f"{path}: format {said.get('format')!r}; allowed: {', '.join(READABLE)}")
    if said["weight_hash"] != weight_hash:
        theirs, given = said["weight_hash"][:12] or "unknown", weight_hash[:12] or "unknown"
        raise ModelError(
            f"{path}: limits made for {said['backbone']} with weights {theirs}, given {given}"
        )
    thresholds = tensors.pop("thresholds")
    if len(thresholds) != config.layers - 1:
        raise ModelError(
            f"{path}: {len(thresholds)} thresholds, the tower has {config.layers - 1} gates"
        )
    base = FixedLimits(tuple(thresholds.tolist()))
    refresh = Refresh(said["cut"], said["budget"])
    bridge = Bridge(said.get("bridge", 0.0), said.get("novelty", Bridge().novelty))
    card = GateCard(
        said["backbone"], said["weight_hash"], said["max_drift"], refresh, bridge, said["report"]
    )
    for name, rows in tensors.items():
        tensors[name] = rows.new_zeros(len(thresholds), *rows.shape[1:])
        tensors[name][[index - 1 for index in base.gates]] = rows
    return GateFile(LearnedLimits.of_tensors(base, tensors) if tensors else base, card)
