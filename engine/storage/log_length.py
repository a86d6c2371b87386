"""The length of the catalog's log at the last commit: DuckDB reads a cut one in silence.

The record beside the catalog carries a checksum of itself. It is made as a whole and then written
over in place, in one sector, so that no kill leaves half of one; the catalog says that it has one.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from engine.storage.durable import sync

HEADER_BYTES = 3 * 4096  # of a DuckDB file; every checkpoint changes one of its three headers


@dataclass(frozen=True, slots=True)
class LogLength:
    """What is written down beside a catalog; `content` is None where nothing is."""

    catalog: Path
    content: bytes | None

    @classmethod
    def read(cls, catalog: Path) -> Self:
        """Read what is written down."""
        path = _beside(catalog)
        return cls(catalog, path.read_bytes() if path.exists() else None)

    def missing(self) -> int:
        """Return by how many bytes the log is too short; 0 where a checkpoint came after that."""
        found = self._parsed()
        if found is None or not self.catalog.exists():
            return 0
        size, digest = found
        with self.catalog.open("rb") as file:
            same = _digest(file.read(HEADER_BYTES)) == digest
        return max(0, size - _size_of_log(self.catalog)) if same else 0

    def damage(self, *, expected: bool) -> str | None:
        """Return why nothing can be told of the log, or None; none has to be if not `expected`."""
        if self.content is None and not expected:
            return None
        if self._parsed() is not None:
            return None
        what = "is gone" if self.content is None else "is damaged"
        return f"{_beside(self.catalog)} {what}: that the log was cut since would not be known"

    def _parsed(self) -> tuple[int, str] | None:
        """Return size and digest, or None where the bytes are not what was written."""
        try:
            size, digest, _ = (self.content or b"").decode("ascii").split()
            found = int(size), digest
        except ValueError:
            return None
        return found if _rendered(*found) == self.content else None


def note_length(catalog: Path, header: bytes) -> None:
    """Write down, after a commit, how long the log is that goes with this header."""
    path, data = _beside(catalog), _rendered(_size_of_log(catalog), _digest(header))
    if path.exists() and path.stat().st_size == len(data):
        with path.open("r+b", buffering=0) as file:
            file.write(data)
        return
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data)
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def _beside(catalog: Path) -> Path:
    return catalog.with_name(f"{catalog.name}.committed")


def _size_of_log(catalog: Path) -> int:
    log = catalog.with_name(f"{catalog.name}.wal")
    return log.stat().st_size if log.exists() else 0


def _rendered(size: int, digest: str) -> bytes:
    said = f"{size:020d} {digest}"
    return f"{said} {_digest(said.encode())[:16]}\n".encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
