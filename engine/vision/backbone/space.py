"""The identity of an embedding space."""

import hashlib
from dataclasses import dataclass
from typing import Literal

Precision = Literal["bf16", "fp8"]
Asked = Literal["auto", "bf16", "fp8"]  # auto: bf16 on a GPU, float32 on a CPU


@dataclass(frozen=True, slots=True)
class Space:
    """An embedding space: vectors of two spaces are never compared."""

    name: str
    model: str  # the id or folder that was asked for
    revision: str  # the hub's commit, or `local`
    weight_hash: str  # sha256 of the weights
    preprocessing: str  # canonical JSON
    dimension: int
    precision: Precision = "bf16"
    identity: str = ""  # what else makes other vectors of the same weights

    @property
    def key(self) -> str:
        """A short stable id, fit for a file name; other weights or preprocessing give another.

        So does fp8, which the name tells: its vectors are near those of full precision, not equal.
        """
        known = f"{self.weight_hash} {self.preprocessing}{self.identity}"
        if self.precision == "fp8":
            known = f"{known} fp8"
        told = hashlib.sha256(known.encode()).hexdigest()
        return f"{self.name}-{told[:12]}"
