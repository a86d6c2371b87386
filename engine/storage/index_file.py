"""An index file: FAISS's own form, mapped into memory, and sums that are checked as it is read.

A list of an inverted file is checked when a search first looks at it, all else when it is opened:
so it opens in milliseconds, whatever its size, and still answers from nothing that is damaged.
"""

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np

from engine.errors import StoreError

_MAGIC = b"dejavu-index-2"
_END = struct.Struct(f"<QII{len(_MAGIC)}s")  # lists, sum of the sums, sum of the start, magic
_START = 4096  # bytes that are checked before FAISS reads anything


class DamagedIndexError(StoreError):
    """An index file that is not what was written."""


@dataclass(frozen=True, slots=True)
class Sums:
    """CRC-32 of what an index holds: of all but the inverted lists first, then of each list."""

    values: np.ndarray  # uint32 [1 + lists]

    @classmethod
    def of_index(cls, by_row: Any) -> Self:
        """Read all of an index."""
        inner: Any = faiss.downcast_index(by_row.index)
        lists = [list_sum(inner, number) for number in range(getattr(inner, "nlist", 0))]
        return cls(np.array([head_sum(by_row), *lists], np.uint32))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the sums at a file's end; raises DamagedIndexError where there are none."""
        with path.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(0, end - _END.size))
            tail = file.read()
            if len(tail) < _END.size or not tail.endswith(_MAGIC):
                raise DamagedIndexError(f"the index {path} has no sums; run `index build`")
            count, total, start, _ = _END.unpack(tail)
            length = 4 * (count + 1)
            if length > end - _END.size:
                raise DamagedIndexError(f"the index {path} is damaged; run `index build`")
            file.seek(end - _END.size - length)
            packed = file.read(length)
            file.seek(0)
            begins = zlib.crc32(file.read(min(_START, end - _END.size))) == start
        if zlib.crc32(packed) != total or not begins:
            raise DamagedIndexError(f"the index {path} is damaged; run `index build`")
        return cls(np.frombuffer(packed, np.uint32))

    def append(self, path: Path) -> None:
        """Write the sums at a file's end."""
        packed = self.values.tobytes()
        with path.open("ab+") as file:
            file.write(packed)
            file.seek(0)
            start = zlib.crc32(file.read(_START))
            file.write(_END.pack(len(self.values) - 1, zlib.crc32(packed), start, _MAGIC))


@dataclass(frozen=True, slots=True)
class IndexFile:
    """Where an index is mapped from, and which of its lists have been found sound."""

    path: Path
    sums: Sums
    report: Callable[[], None]  # called where a list is found to be damaged
    sound: np.ndarray  # bool [lists], set as lists are checked

    @classmethod
    def open(cls, path: Path, report: Callable[[], None]) -> tuple[Any, Self]:
        """Map an index into memory and check all but its lists."""
        sums = Sums.read(path)
        try:
            # FAISS maps inverted lists by one flag, and all that is flat by another
            lists = faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY
            flags = lists if len(sums.values) > 1 else faiss.IO_FLAG_MMAP_IFC
            by_row: Any = faiss.read_index(str(path), flags)
        except (RuntimeError, MemoryError) as error:  # a length that is not what was written
            text = f"the index {path} cannot be read; run `index build`"
            raise DamagedIndexError(text) from error
        inner: Any = faiss.downcast_index(by_row.index)
        if getattr(inner, "nlist", 0) != len(sums.values) - 1 or head_sum(by_row) != sums.values[0]:
            raise DamagedIndexError(f"the index {path} is damaged; run `index build`")
        return by_row, cls(path, sums, report, np.zeros(len(sums.values) - 1, bool))

    def check(self, inner: Any, lists: np.ndarray) -> None:
        """Check those of some lists that were not looked at yet; raises DamagedIndexError."""
        for number in lists[~self.sound[lists]].tolist():
            if list_sum(inner, number) != self.sums.values[1 + number]:
                self.report()
                raise DamagedIndexError(
                    f"the index {self.path} is damaged; it is built afresh when it is next needed"
                )
            self.sound[number] = True


def head_sum(by_row: Any) -> int:
    """Return the CRC-32 of row ids and, of an inverted file, of its centroids and places."""
    inner: Any = faiss.downcast_index(by_row.index)
    parts: Sequence[np.ndarray] = [faiss.vector_to_array(by_row.id_map)]
    if hasattr(inner, "nlist"):
        quantizer: Any = faiss.downcast_index(inner.quantizer)
        sizes = [inner.invlists.list_size(number) for number in range(inner.nlist)]
        parts = [
            *parts,
            faiss.vector_to_array(quantizer.codes),
            faiss.vector_to_array(inner.direct_map.array),
            np.array(sizes, np.int64),
        ]
    else:
        count = inner.ntotal * inner.d
        parts = [*parts, faiss.rev_swig_ptr(inner.get_xb(), count)] if count else parts
    total = 0
    for part in parts:
        total = zlib.crc32(_bytes(np.ascontiguousarray(part)), total)
    return total


def list_sum(inner: Any, number: int) -> int:
    """Return the CRC-32 of an inverted list: its positions and its vectors."""
    lists = inner.invlists
    size = lists.list_size(number)
    if not size:
        return 0
    ids = faiss.rev_swig_ptr(lists.get_ids(number), size)
    codes = faiss.rev_swig_ptr(lists.get_codes(number), size * lists.code_size)
    return zlib.crc32(_bytes(codes), zlib.crc32(_bytes(ids)))


def _bytes(values: np.ndarray) -> memoryview:
    return values.data
