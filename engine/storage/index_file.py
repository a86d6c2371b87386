"""The file of a small index: FAISS's own form, mapped into memory, and a sum of all of it."""

import struct
import zlib
from pathlib import Path
from typing import Any

import faiss

from engine.errors import StoreError

_END = struct.Struct("<I14s")  # sum of all before, magic
_MAGIC = b"dejavu-index-3"
_PIECE = 2**20


class DamagedIndexError(StoreError):
    """An index file that is not what was written."""

    def __init__(
        self, path: Path, what: str = "is damaged", then: str = "run `index build`"
    ) -> None:
        super().__init__(f"the index {path} {what}; {then}")


def write_index(index: Any, path: Path) -> None:
    """Write an index, and the sum of its bytes behind it."""
    faiss.write_index(index, str(path))
    total = _sum_of(path, path.stat().st_size)
    with path.open("ab") as file:
        file.write(_END.pack(total, _MAGIC))


def map_index(path: Path) -> Any:
    """Map an index into memory once all of it has been checked."""
    length = path.stat().st_size - _END.size
    with path.open("rb") as file:
        file.seek(max(0, length))
        tail = file.read()
    if len(tail) < _END.size or not tail.endswith(_MAGIC):
        raise DamagedIndexError(path, "is of another form")
    if _sum_of(path, length) != _END.unpack(tail)[0]:
        raise DamagedIndexError(path)
    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)


def _sum_of(path: Path, length: int) -> int:
    total = 0
    with path.open("rb") as file:
        while length:
            piece = file.read(min(_PIECE, length))
            total, length = zlib.crc32(piece, total), length - len(piece)
    return total
