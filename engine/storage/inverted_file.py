"""An inverted file on disk: float16 vectors by list, and codes of a few bits to choose them by.

All of it is mapped, so that it opens in milliseconds. The position of a row is its place in the
matrix of vectors, which lies list by list; codes and ids lie in the same order. What every search
reads is checked as the file is opened, a list when a search first looks at it, and a vector that
is fetched by itself against a sum of its own.
"""

import mmap
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, Literal, Self

import faiss
import numpy as np

from engine.storage.index_file import DamagedIndexError

_faiss: Any = faiss  # whose stubs lack the constructors that Python has

What = Literal["codes", "vectors"]

MAGIC = b"dejavu-lists-1"
BITS = 2  # of a code for each dimension
_SHAPE = struct.Struct("<QIII")  # rows, lists, E, bytes a code
_START = struct.Struct(f"<16s16s{_SHAPE.size}sI")  # magic, version of FAISS, shape, sum of the head
_PAGE = 4096
COLUMNS: dict[What, int] = {"codes": 0, "vectors": 1}  # of the sums
_VERSION = faiss.__version__.encode()[:16]


@dataclass(frozen=True, slots=True)
class FileShape:
    """How large an inverted file is; where everything lies follows from it."""

    num_rows: int  # places for rows; not all of them need be taken
    num_lists: int
    dimension: int
    code_size: int  # bytes of a row's code, 0 where there are none

    @classmethod
    def of(cls, num_rows: int, num_lists: int, dimension: int, *, coded: bool) -> Self:
        """Return the shape of a file with or without codes."""
        size = coder(dimension).code_size if coded else 0
        return cls(num_rows, num_lists, dimension, size)

    def sections(self) -> Iterator[tuple[str, str, tuple[int, ...]]]:
        """Yield name, type and shape of everything, in the order in which it lies."""
        rows, lists, width = self.num_rows, self.num_lists, self.dimension
        yield "centroids", "f4", (lists, width)
        if self.code_size:
            yield "rotation", "f4", (width, width)
        yield "starts", "i8", (lists,)  # of each list, a position
        yield "sizes", "i8", (lists,)
        yield "sums", "u4", (lists, 2)  # of each list's codes, and of its vectors, with their ids
        yield "order", "u4", (rows,)  # the positions by rising row id, then those not taken
        yield "sorted", "i8", (rows,)  # row ids in that order
        yield "row_ids", "i8", (rows,)  # by position
        yield "row_sums", "u8", (rows,)  # of each vector
        if self.code_size:
            yield "codes", "u1", (rows, self.code_size)
            yield "codes_ids", "u1", (self._padded(self.code_size),)
        yield "vectors", "f2", (rows, width)
        yield "vectors_ids", "u1", (self._padded(2 * width),)

    def _padded(self, size: int) -> int:
        """Return the bytes that ids take where each list's begin at a multiple of a code."""
        return -(-(8 * self.num_rows + size * self.num_lists) // size) * size

    def offsets(self) -> dict[str, int]:
        """Return where each section begins, and `end`."""
        found, at = dict[str, int](), _PAGE
        for name, kind, shape in self.sections():
            found[name] = at
            at += np.dtype(kind).itemsize * prod(shape)
            if name not in ("codes", "vectors"):  # their ids follow at once
                at = -(-at // _PAGE) * _PAGE
        return {**found, "end": at}

    @property
    def kinds(self) -> tuple[What, ...]:
        """What a list has of each row."""
        return ("codes", "vectors") if self.code_size else ("vectors",)

    def size_of(self, what: What) -> int:
        """Return the bytes of a code or a vector."""
        return self.code_size if what == "codes" else 2 * self.dimension

    def id_places(self, sizes: np.ndarray, what: What) -> np.ndarray:
        """Return where each list's ids lie, in codes or vectors after the last of them."""
        taken = -(-8 * sizes // self.size_of(what))
        places: np.ndarray = np.cumsum(taken) - taken
        return places

    def numbers(self) -> bytes:
        """Return all of it as bytes."""
        return _SHAPE.pack(self.num_rows, self.num_lists, self.dimension, self.code_size)


@dataclass(frozen=True)
class InvertedFile:
    """A mapped file, and which of its lists have been found sound."""

    path: Path
    shape: FileShape
    mapped: mmap.mmap
    report: Callable[[], None]  # called where a part of it is found to be damaged
    sound: np.ndarray = field(compare=False)  # bool [lists, 2], set as lists are checked

    @classmethod
    def open(cls, path: Path, report: Callable[[], None] = lambda: None) -> Self:
        """Map a file and check what every search reads of it."""
        with path.open("rb") as file:
            start = file.read(_START.size)
            if len(start) < _START.size:
                raise DamagedIndexError(path)
            magic, version, numbers, total = _START.unpack(start)
            shape = FileShape(*_SHAPE.unpack(numbers))
            end, known = file.seek(0, 2), magic.rstrip(b"\0") == MAGIC
            if not known or not shape.dimension or end != shape.offsets()["end"]:
                raise DamagedIndexError(path)
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if _head_sum(shape, mapped) != total:
            raise DamagedIndexError(path)
        if shape.code_size and version.rstrip(b"\0") != _VERSION:
            raise DamagedIndexError(path, "has codes of another version of FAISS")
        return cls.of(path, shape, mapped, report)

    @classmethod
    def of(
        cls,
        path: Path,
        shape: FileShape,
        mapped: mmap.mmap,
        report: Callable[[], None] = lambda: None,
    ) -> Self:
        """Take a mapped file whose lists have not been checked."""
        return cls(path, shape, mapped, report, np.zeros((shape.num_lists, 2), bool))

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """Every section by its name."""
        offsets = self.shape.offsets()
        return {
            name: np.frombuffer(self.mapped, kind, prod(shape), offsets[name]).reshape(shape)
            for name, kind, shape in self.shape.sections()
        }

    def check(self, lists: np.ndarray, what: What) -> None:
        """Check those of some lists that were not looked at yet; raises DamagedIndexError."""
        column = COLUMNS[what]
        for number in lists[~self.sound[lists, column]].tolist():
            here = _bytes(self.arrays[what][self.positions(number)])
            total = self.ids_sum(what, number, zlib.crc32(here))
            if total != self.arrays["sums"][number, column]:
                raise self.damaged()
            self.sound[number, column] = True

    def fetch(self, positions: np.ndarray) -> np.ndarray:
        """Return the vectors at positions, each checked: float32 `[n, E]`."""
        found = np.take(self.arrays["vectors"], positions, axis=0)
        if not np.array_equal(row_sums(found), self.arrays["row_sums"][positions]):
            raise self.damaged()
        # many times as fast as numpy's own way
        halves = _faiss.ScalarQuantizer(self.shape.dimension, faiss.ScalarQuantizer.QT_fp16)
        vectors: np.ndarray = halves.decode(found.view(np.uint8))
        return vectors

    def damaged(self) -> DamagedIndexError:
        """Report that a part of the file is not what was written."""
        self.report()
        return DamagedIndexError(self.path, "is damaged", "it is built afresh with the next search")

    def lists(self, what: What) -> Any:
        """Return FAISS's view of codes or vectors, list by list."""
        shape, begin = self.shape, self.shape.offsets()
        size, starts, sizes = shape.size_of(what), self.arrays["starts"], self.arrays["sizes"]
        places = shape.num_rows + shape.id_places(sizes, what)
        found = _faiss.OnDiskInvertedLists(shape.num_lists, size, str(self.path))
        every, one = _faiss.OnDiskOneListVector(), _faiss.OnDiskOneList()
        for start, count, place in zip(*(a.tolist() for a in (starts, sizes, places)), strict=True):
            # FAISS looks for a list's ids behind its capacity: behind all codes
            one.offset, one.size, one.capacity = begin[what] + size * start, count, place - start
            every.push_back(one)
        found.lists, found.read_only, found.totsize = every, True, begin["end"]
        found.do_mmap()
        return found

    def ids_sum(self, what: What, number: int, total: int) -> int:
        """Return the CRC-32 of a list whose codes or vectors have a sum, with its ids."""
        at = self.shape.size_of(what) * int(self.id_places[what][number])
        length = 8 * int(self.arrays["sizes"][number])
        return zlib.crc32(_bytes(self.arrays[f"{what}_ids"][at : at + length]), total)

    @cached_property
    def id_places(self) -> dict[What, np.ndarray]:
        """Where each list's ids lie, in codes or vectors after the last of them."""
        sizes = self.arrays["sizes"]
        return {what: self.shape.id_places(sizes, what) for what in self.shape.kinds}

    def positions(self, number: int) -> slice:
        """Return the positions in a list."""
        start = int(self.arrays["starts"][number])
        return slice(start, start + int(self.arrays["sizes"][number]))


def start_of(shape: FileShape, mapped: mmap.mmap) -> bytes:
    """Return the first bytes of a file that has been written but for these."""
    return _START.pack(MAGIC, _VERSION, shape.numbers(), _head_sum(shape, mapped))


def _head_sum(shape: FileShape, mapped: mmap.mmap) -> int:
    """Return the CRC-32 of a file's shape and of all that lies before the sums of vectors."""
    end = shape.offsets()["row_sums"]
    with memoryview(mapped) as view:
        return zlib.crc32(view[_PAGE:end], zlib.crc32(shape.numbers()))


def row_sums(vectors: np.ndarray) -> np.ndarray:
    """Return a sum of each vector, float16 `[n, E]`, that any one changed word changes: uint64."""
    width = 2 * vectors.shape[1]
    size = next(size for size in (8, 4, 2) if width % size == 0)
    words: np.ndarray = np.ascontiguousarray(vectors).view(f"u{size}")
    odd = 2 * np.arange(words.shape[1], dtype=np.uint64) + 1
    weights = odd * np.uint64(0x9E3779B97F4A7C15)  # odd ones lose no bit
    found: np.ndarray = np.einsum("nw,w->n", words, weights, dtype="uint64", casting="safe")
    return found


def coder(dimension: int, quantizer: Any = None) -> Any:
    """Return FAISS's index of a few bits a dimension, without rows."""
    own = _faiss.IndexFlatIP(dimension) if quantizer is None else quantizer
    lists = max(1, own.ntotal)
    index = _faiss.IndexIVFRaBitQ(own, dimension, lists, faiss.METRIC_INNER_PRODUCT, False, BITS)
    index.is_trained = True  # it learns nothing but the centroids
    return index


def _bytes(values: np.ndarray) -> memoryview:
    return np.ascontiguousarray(values).data
