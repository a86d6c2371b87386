"""Arrays as shards send them: little-endian numbers in base64."""

from base64 import b64decode, b64encode

import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError


def packed(vectors: NDArray[np.float32], kind: str = "<f4") -> str:
    """Return numbers as text; `<f2` holds all that the store keeps of a vector."""
    return b64encode(np.ascontiguousarray(vectors).astype(kind).tobytes()).decode()


def unpacked(text: str, dimension: int, kind: str = "<f4") -> NDArray[np.float32]:
    """Return vectors `[n, dimension]`."""
    try:
        numbers = np.frombuffer(b64decode(text, validate=True), kind)
        found: NDArray[np.float32] = numbers.reshape(-1, dimension).astype(np.float32)
    except ValueError as error:
        raise UsageError(f"expected vectors of {dimension} numbers in base64") from error
    return found
