"""Checkpoints of the published training code, mapped onto ours."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from engine.errors import ModelError
from engine.vision.reusevit.parts import ReuseParts

_LAYER = re.compile(r"layers\.(\d+)\..*?(decision|restoration)\.(.+)$")
_DECISION = re.compile(r"blocks\.(\d+)\.(\d+)\.(\w+)$")
_RESTORATION = re.compile(r"([hqkv])_mlp\.(\d+)\.weight$")


@dataclass(frozen=True, slots=True)
class Imported:
    """Which names of the published file were used, and which of ours it left untouched."""

    used: tuple[str, ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...]


def import_published(path: Path, parts: ReuseParts) -> Imported:
    """Fill `parts` from a Lightning checkpoint, and say what became of every name.

    The published module of layer l + 1 holds both the decision and the restoration of the gate
    between layers l and l + 1; that of layer 0 is never used. The codec net's tensors are matched
    by kind and shape, in the order of the file.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, UnpicklingError) as error:
        raise ModelError(
            f"{path}: cannot be read as a checkpoint: {str(error).splitlines()[0]}"
        ) from error
    tensors = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else {}
    named = {name: t for name, t in tensors.items() if isinstance(t, Tensor)}
    return fill_published(named, parts)


def fill_published(named: dict[str, Tensor], parts: ReuseParts) -> Imported:
    """Fill `parts` from the tensors of a published state dict."""
    own = parts.state_dict()
    matches = _match_gates(named, own) | _match_codec(named, own)
    filled: set[str] = set()
    for name, (target, at) in matches.items():
        goal = own[target] if at is None else own[target][at]
        value = named[name].T if target.endswith(".up") else named[name]  # [D, C] there
        if value.numel() != goal.numel():
            raise ModelError(
                f"{name}: expected {list(goal.shape)} for {target}, got {list(named[name].shape)}"
            )
        goal.copy_(value.reshape(goal.shape))
        filled.add(target)
    return Imported(
        used=tuple(matches),
        unused=tuple(name for name in named if name not in matches),
        missing=tuple(name for name in own if name not in filled),
    )


_Place = tuple[str, int | slice | None]  # a tensor of ours, and the part of it


def _match_gates(named: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, _Place]:
    """Find the tensor of ours for each name under a layer."""
    matches: dict[str, _Place] = {}
    decisions: list[tuple[str, int, tuple[int, int], str]] = []
    for name, value in named.items():
        found = _LAYER.search(name)
        if not found or found[1] == "0":
            continue
        gate, rest = int(found[1]) - 1, found[3]
        if found[2] == "restoration" and (part := _RESTORATION.search(rest)):
            which = "hqkv".index(part[1])
            side = "down" if part[2] == "0" else "up"
            target = f"gates.{gate}.restoration.{side}"
            narrow = min(value.shape)
            at = slice(which * narrow, (which + 1) * narrow) if side == "down" else which
            if target in own:
                matches[name] = (target, at)
        elif part := _DECISION.search(rest):
            place = (int(part[1]), int(part[2]))
            decisions.append((name, gate, place, part[3]))
    return matches | dict(_match_decisions(decisions, own))


def _match_decisions(
    decisions: Iterable[tuple[str, int, tuple[int, int], str]], own: dict[str, Tensor]
) -> list[tuple[str, _Place]]:
    """Number the modules that hold tensors, theirs and ours, in order."""
    decisions = list(decisions)
    theirs: defaultdict[int, set[tuple[int, int]]] = defaultdict(set)
    for _, gate, place, _ in decisions:
        theirs[gate].add(place)
    matches: list[tuple[str, _Place]] = []
    for name, gate, place, suffix in decisions:
        prefix = f"gates.{gate}.decision.net."
        ours = sorted(
            {int(key.removeprefix(prefix).split(".")[0]) for key in own if key.startswith(prefix)}
        )
        order = sorted(theirs[gate]).index(place)
        target = f"{prefix}{ours[order]}.{suffix}" if order < len(ours) else ""
        if target in own:
            matches.append((name, (target, None)))
    return matches


def _match_codec(named: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, _Place]:
    waiting: defaultdict[tuple[str, tuple[int, ...]], list[str]] = defaultdict(list)
    for name, value in own.items():
        if name.startswith("codec."):
            waiting[_kind(name, value)].append(name)
    matches: dict[str, _Place] = {}
    for name, value in named.items():
        if "blobnet" in name and (free := waiting.get(_kind(name, value))):
            matches[name] = (free.pop(0), None)
    return matches


def _kind(name: str, value: Tensor) -> tuple[str, tuple[int, ...]]:
    return name.rsplit(".", 1)[-1], tuple(size for size in value.shape if size != 1)
