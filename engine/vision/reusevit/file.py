"""Trained reuse modules on disk: slim files bound to a backbone, full ones that carry it."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine.errors import ModelError
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.reusevit.modules import ReuseConfig, ReuseModules

FORMAT = "dejavu-reuse-1"
PARTS, TOWER = "parts.", "tower."


@dataclass(frozen=True, slots=True)
class Card:
    """What a file of reuse modules says about itself."""

    config: ReuseConfig
    backbone: str  # the id of the model that they were trained for
    weight_hash: str  # sha256 of its weights
    target: float  # the reuse rate asked for in training
    refresh: int = 0  # frames between full ones when served; 0: never
    figures: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of the last validation


@dataclass(frozen=True, slots=True)
class Loaded:
    """Reuse modules with what their file says."""

    modules: ReuseModules
    card: Card


def save_modules(
    path: Path, modules: ReuseModules, card: Card, *, dtype: torch.dtype = torch.float32
) -> None:
    """Write a slim file: the reuse modules alone, with the backbone's id and hash.

    `dtype` is that of the corrections, nearly all of the file; decisions stay as they are, because
    similarities differ in the fourth decimal.
    """
    tensors = {
        PARTS + name: value.to(dtype) if ".restoration." in name else value
        for name, value in modules.state_dict().items()
    }
    _write(path, tensors, card)


def load_modules(path: Path, tower: VisionConfig, *, weight_hash: str) -> Loaded:
    """Read reuse modules, slim or full; those of another backbone are refused."""
    card, tensors = read_checkpoint(path)
    if card.weight_hash != weight_hash:
        raise ModelError(
            f"{path}: reuse modules trained for {card.backbone} with weights "
            f"{card.weight_hash[:12] or 'unknown'}, given weights {weight_hash[:12] or 'unknown'}"
        )
    modules = ReuseModules(tower, card.config)
    own = {name.removeprefix(PARTS): t for name, t in tensors.items() if name.startswith(PARTS)}
    try:
        modules.load_state_dict(own)
    except RuntimeError as error:
        raise ModelError(f"{path}: {' '.join(str(error).split())}") from error
    return Loaded(modules, card)


def rebuild(path: Path, tower: VisionTower, out: Path, *, weight_hash: str) -> None:
    """Write a full file: the reuse modules and the vision tower that they belong to."""
    loaded = load_modules(path, tower.config, weight_hash=weight_hash)
    tensors = {PARTS + name: value for name, value in loaded.modules.state_dict().items()}
    tensors |= {TOWER + name: value for name, value in tower.state_dict().items()}
    _write(out, tensors, loaded.card)


def slim(path: Path, out: Path) -> None:
    """Write the slim file of a full one; what remains is not changed."""
    card, tensors = read_checkpoint(path)
    _write(out, {name: t for name, t in tensors.items() if name.startswith(PARTS)}, card)


def read_checkpoint(path: Path) -> tuple[Card, dict[str, Tensor]]:
    """Read a file's card and all its tensors."""
    try:
        with safe_open(path, framework="pt") as file:
            said = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read as safetensors: {error}") from error
    if said.get("format") != FORMAT:
        raise ModelError(f"{path}: not a file of reuse modules ({FORMAT})")
    card = json.loads(said["card"])
    return Card(**{**card, "config": ReuseConfig(**card["config"])}), tensors


def _write(path: Path, tensors: dict[str, Tensor], card: Card) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"format": FORMAT, "card": json.dumps(dataclasses.asdict(card), sort_keys=True)}
    temporary = path.with_suffix(".tmp")
    save_file(
        {name: t.detach().cpu().contiguous() for name, t in tensors.items()}, temporary, metadata
    )
    temporary.replace(path)
