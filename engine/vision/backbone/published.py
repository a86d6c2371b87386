"""What authors publish: tensors by name in a file of torch's own, read without running its code."""

import struct
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from engine.errors import ModelError

# what reading other bytes as such a file ends in
_UNREADABLE = (
    *(OSError, RuntimeError, ValueError, EOFError, LookupError, AttributeError, TypeError),
    *(ArithmeticError, AssertionError, UnpicklingError, struct.error),
)


def read_published(path: Path, wrappers: Sequence[str] = ()) -> dict[str, Tensor]:
    """Read tensors by name, those that the first of `wrappers` there holds; what else is left out.

    A file without any, or one that is no such file, is an error.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of what stray bytes look like
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        said = (str(error).splitlines() or [""])[0].partition(". ")[0]
        told = f"{type(error).__name__}: {said}" if isinstance(error, LookupError) else said
        raise ModelError(f"{path}: cannot be read as a checkpoint: {told}") from error
    for wrapper in wrappers:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    named = loaded if isinstance(loaded, Mapping) else {}
    tensors = {str(name): value for name, value in named.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ModelError(f"{path}: holds no tensors by name")
    return tensors
