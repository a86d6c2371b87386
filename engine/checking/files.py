"""A model's files: in safetensors, whole, with numbers alone, and under which licence."""

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from engine.checking.card import WeightFile, Weights
from engine.errors import ModelError
from engine.vision.backbone.card import read_card
from engine.vision.backbone.locate import BUILTIN
from engine.vision.backbone.weights import hash_files, pickles, read_tensors

_LICENCES = ("LICENSE*", "LICENCE*", "COPYING*", "license*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def look_at(folder: Path, files: list[Path]) -> Weights:
    """Read a folder's weights; what is no safetensors, damaged or not a number is refused."""
    hashed = tuple(_hashed(path) for path in files)
    tensors = read_tensors(files)
    check_numbers(tensors, folder)
    return Weights(
        hashed,
        sum(tensor.numel() for tensor in tensors.values()),
        licence_of(folder),
        tuple(pickles(folder)),
    )


def check_numbers(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Refuse weights that are not numbers."""
    for name, tensor in sorted(tensors.items()):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            wrong = int((~tensor.isfinite()).sum())
            raise ModelError(
                f"{folder}: {wrong} of {tensor.numel()} weights of {name} are not numbers"
                " (NaN or Inf): the checkpoint is damaged"
            )


def licence_of(folder: Path) -> str | None:
    """Return what a folder's README says in its head, or the first line of its licence."""
    if folder == BUILTIN:
        return read_card().licence
    readme = folder / "README.md"
    if readme.is_file():
        head = re.match(r"---\n(.*?)\n---", readme.read_text(errors="replace"), re.S)
        if head and (found := re.search(r"^license:\s*(\S.*?)\s*$", head[1], re.M)):
            return found[1].strip("'\"")
    for file in (path for kind in _LICENCES for path in sorted(folder.glob(kind))):
        lines = (line.strip() for line in file.read_text(errors="replace").splitlines())
        return next((line for line in lines if line), None)
    return None


def _hashed(path: Path) -> WeightFile:
    digest, stored = hash_files([path]), path.resolve().name
    named = bool(_SHA256.fullmatch(stored))
    if named and stored != digest:
        raise ModelError(
            f"{path} does not have the hash that the hub gives ({stored[:12]}…, it has"
            f" {digest[:12]}…): remove it from the cache and fetch it again"
        )
    return WeightFile(path.name, path.stat().st_size, digest, named)
