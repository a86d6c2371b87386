"""A network trained on one model's vectors or patches, as a file: its shape and whose they are."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from engine.errors import ModelError

N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class NetworkKind:
    """One kind of network that is trained on what a model makes."""

    name: str  # in its file
    what: str  # as errors call it
    reads: str  # what it does with what of a model
    command: str  # that trains one
    unnamed: bool = False  # files of it that say nothing of a kind are among those that ship


def save_trained(
    path: Path,
    network: nn.Module,
    config: Any,
    kind: NetworkKind,
    weight_hash: str,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a network with its shape, a dataclass, and the model it belongs to."""
    tensors = {name: t.to(dtype).contiguous() for name, t in network.state_dict().items()}
    meta = {
        "config": json.dumps(asdict(config)),
        "weight_hash": weight_hash,
        "kind": kind.name,
    }
    save_file(tensors, path, metadata=meta)


def load_trained(
    path: Path, build: Callable[[Mapping[str, Any]], N], kind: NetworkKind, weight_hash: str
) -> N:
    """Read what `build` makes of a stored shape, ready to run in float32.

    One of another kind, or that belongs to another model, is an error.
    """
    try:
        with safe_open(path, framework="pt") as opened:
            meta = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{kind.what} {path} cannot be read: {error}") from error
    train = f"train one with `dejavu-engine train {kind.command}`"
    if meta.get("kind", kind.name if kind.unnamed else None) != kind.name or "config" not in meta:
        raise ModelError(f"{path} is no {kind.what}; {train}")
    if meta.get("weight_hash") != weight_hash:
        raise ModelError(
            f"{path.name} {kind.reads} of model {meta.get('weight_hash', 'unknown')[:12]}, not of "
            f"{weight_hash[:12]}; {train}"
        )
    try:
        network = build(json.loads(meta["config"]))
        network.load_state_dict(tensors)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{kind.what} {path}: {' '.join(str(error).split())}") from error
    return network.float().eval().requires_grad_(False)
