"""Checkpoints of the published training code, mapped onto ours by name."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.errors import ModelError
from engine.vision.backbone.published import read_published
from engine.vision.reusevit.modules import ReuseConfig, ReuseModules

# what stands before these differs from one wrapper of the model to the next
_REUSE = re.compile(r"(?:^|\.)(layers\.\d+\.reuse_module\..+|blobnet\..+)$")
_CODEC = {
    **{f"encoders.{at}.conv": f"encoder.contracting.{at}.0" for at in range(3)},
    **{f"encoders.{at}.norm": f"encoder.contracting.{at}.3" for at in range(3)},
    **{f"encoders.{at}.mix.first": f"encoder.contracting.{at}.5.inner.0" for at in range(3)},
    **{f"encoders.{at}.mix.second": f"encoder.contracting.{at}.5.inner.3" for at in range(3)},
    **{f"decoders.{at}": f"decoder.expanding.{at}.0.conv" for at in range(3)},
    **{f"norms.{at}": f"decoder.expanding.{at}.1" for at in range(2)},
    "last": "decoder.final",
}


@dataclass(frozen=True, slots=True)
class Imported:
    """Which names of the published file were used, and which were not."""

    used: tuple[str, ...]
    unused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Source:
    """A published tensor, and the tensor of ours, or the part of it, that it fills."""

    name: str
    target: str
    at: int | slice | None = None
    transposed: bool = False


def import_published(path: Path, modules: ReuseModules) -> Imported:
    """Fill `modules` from a Lightning checkpoint, all of them or none, and say what was used."""
    return fill_published(read_published(path, ("state_dict",)), modules)


@torch.no_grad()
def fill_published(named: dict[str, Tensor], modules: ReuseModules) -> Imported:
    """Fill `modules` from the tensors of a published state dict; one that lacks any is refused."""
    own = modules.state_dict()
    given: dict[str, str] = {}
    for name in named:
        if found := _REUSE.search(name):
            if found[1] in given:
                raise ModelError(f"two tensors are called {found[1]}: {given[found[1]]} and {name}")
            given[found[1]] = name
    sources = [*_gates(modules.config, len(modules.gates)), *_codec(own)]
    missing = [source.name for source in sources if source.name not in given]
    if missing:
        raise ModelError(
            f"{len(missing)} of {len(sources)} published tensors are missing, "
            f"first {', '.join(missing[:3])}"
        )
    for source in sources:
        _check(source, own[source.target], named[given[source.name]])
    for source in sources:
        value, goal = named[given[source.name]], own[source.target]
        goal = goal if source.at is None else goal[source.at]
        goal.copy_((value.T if source.transposed else value).reshape(goal.shape))
    used = tuple(given[source.name] for source in sources)
    return Imported(used, tuple(name for name in named if name not in set(used)))


def _check(source: _Source, whole: Tensor, value: Tensor) -> None:
    """Refuse a tensor of another shape; the codec net's have axes of one that ours lack."""
    goal = whole if source.at is None else whole[source.at]
    shape = goal.T.shape if source.transposed else goal.shape
    if [size for size in value.shape if size != 1] != [size for size in shape if size != 1]:
        raise ModelError(f"{source.name}: expected {list(shape)}, got {list(value.shape)}")
    if not value.isfinite().all():
        raise ModelError(f"{source.name}: holds values that are not finite")


def _gates(config: ReuseConfig, count: int) -> Iterator[_Source]:
    """Name the tensors of the gates.

    The published module of layer l + 1 holds both the decision and the restoration of the gate
    between layers l and l + 1; that of layer 0 is never used.
    """
    for gate in range(count):
        module = f"layers.{gate + 1}.reuse_module"
        block = within = 0
        for at, letter in enumerate(config.decision):
            block, within = (block + 1, 0) if letter == "l" else (block, within + 1)
            kinds = {"l": ("weight", "bias"), "b": _NORM}.get(letter, ())
            for kind in kinds:
                name = f"{module}.decision_module.blocks.{block}.{within}.{kind}"
                yield _Source(name, f"gates.{gate}.decision.net.{at}.{kind}")
        for which, letter in enumerate("hqkv" if config.narrow else ""):
            name = f"{module}.restoration_module.{letter}_mlp"
            rows = slice(which * config.narrow, (which + 1) * config.narrow)
            yield _Source(f"{name}.0.weight", f"gates.{gate}.restoration.down", rows)
            yield _Source(f"{name}.3.weight", f"gates.{gate}.restoration.up", which, True)


_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def _codec(own: dict[str, Tensor]) -> Iterator[_Source]:
    for target in own:
        if target.startswith("codec."):
            module, kind = target.removeprefix("codec.").rsplit(".", 1)
            yield _Source(f"blobnet.{_CODEC[module]}.{kind}", target)
