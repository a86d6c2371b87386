"""The length of the catalog's log at the last commit: DuckDB reads a cut one in silence."""

import hashlib
from pathlib import Path

HEADER_BYTES = 3 * 4096  # of a DuckDB file; every checkpoint changes one of its three headers


def note_length(catalog: Path, header: bytes) -> None:
    """Write down, after a commit, how long the log is that goes with this header."""
    size = _size_of_log(catalog)
    _beside(catalog).write_text(f"{size} {_digest(header, size)}\n")


def missing_bytes(catalog: Path) -> int:
    """Return by how much the log is shorter than it was; 0 where a checkpoint came after that."""
    try:
        text, digest = _beside(catalog).read_text().split()
        size = int(text)
        with catalog.open("rb") as file:
            header = file.read(HEADER_BYTES)
    except (OSError, ValueError):
        return 0
    if digest != _digest(header, size):
        return 0
    return max(0, size - _size_of_log(catalog))


def forget_length(catalog: Path) -> None:
    """Take the log as it is from now on."""
    _beside(catalog).unlink(missing_ok=True)


def _beside(catalog: Path) -> Path:
    return catalog.with_name(f"{catalog.name}.committed")


def _size_of_log(catalog: Path) -> int:
    log = catalog.with_name(f"{catalog.name}.wal")
    return log.stat().st_size if log.exists() else 0


def _digest(header: bytes, size: int) -> str:
    return hashlib.sha256(header + str(size).encode()).hexdigest()
