"""The vectors of texts that were looked for lately, so that these need no model again."""

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
MOST_TEXTS = 1000  # kept of a space
_SPARE = 0.9  # what is left of them once there are more, so that it is not done each time
_DIGEST_BYTES = 32
_log = logging.getLogger(__name__)


class KnownTexts:
    """One folder below `root` a space, one file a text: named by its hash, holding its vector.

    A cache: a file that is damaged is made anew, and what cannot be written is not kept.
    """

    def __init__(self, root: Path, *, writable: bool) -> None:
        self._root, self._writable = root, writable

    def get(
        self, space: str, texts: Sequence[str], embed: Callable[[Sequence[str]], Vectors]
    ) -> Vectors:
        """Return the vectors of texts `[T, E]`; `embed` is asked for those that are not known."""
        paths = [self._path(space, text) for text in texts]
        found = [_read(path) for path in paths]
        lacking = [at for at, vector in enumerate(found) if vector is None]
        if lacking:
            for at, vector in zip(lacking, embed([texts[at] for at in lacking]), strict=True):
                found[at] = vector
                self._keep(paths[at], vector)
        return np.stack([vector for vector in found if vector is not None])

    def _path(self, space: str, text: str) -> Path:
        return self._root / space / hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()

    def _keep(self, path: Path, vector: Vectors) -> None:
        if not self._writable:
            return
        data = np.ascontiguousarray(vector, np.float32).tobytes()
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(hashlib.sha256(data).digest() + data)
            temporary.replace(path)
            _trim(path.parent)
        except OSError as error:
            _log.debug("the vector of a text is not kept: %s", error)


def _read(path: Path) -> Vectors | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, vector = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if not vector or hashlib.sha256(vector).digest() != digest:
        return None
    return np.frombuffer(vector, np.float32)


def _trim(folder: Path) -> None:
    """Remove the oldest beyond what is kept, and what a killed process left."""
    files = [Path(entry.path) for entry in os.scandir(folder)]
    if len(files) <= MOST_TEXTS:
        return
    with suppress(OSError):  # another process trims as well
        oldest = sorted(files, key=lambda path: path.stat().st_mtime_ns)
        for path in oldest[: len(files) - int(_SPARE * MOST_TEXTS)]:
            path.unlink()
