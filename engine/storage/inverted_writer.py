"""Writes inverted files by streaming: memory is bounded by a group of rows and the ids of all."""

import mmap
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from engine.storage.inverted import InvertedIndex
from engine.storage.inverted_file import (
    COLUMNS,
    FileShape,
    InvertedFile,
    What,
    coder,
    row_sums,
    start_of,
)

_faiss: Any = faiss

Batch = Iterator[tuple[np.ndarray, np.ndarray]]  # row ids [n], float16 [n, E]
Batches = Callable[[], Batch]

MOST_LISTS = 1024  # more take longer to assign rows to than they save a search
_GROUP_BYTES = 2**26  # of vectors that are sorted by list before they are written


@dataclass(frozen=True, slots=True)
class PlacedRows:
    """Rows to write, the list of each, and codes where the file has some."""

    row_ids: np.ndarray  # int64 [n]
    lists: np.ndarray  # int32 [n]
    vectors: np.ndarray  # float16 [n, E]
    codes: np.ndarray | None  # uint8 [n, bytes]


def lists_for(num_rows: int) -> int:
    """Return how many lists suit a number of rows."""
    return min(2 * isqrt(num_rows), MOST_LISTS)


def build(dimension: int, num_rows: int, batches: Batches, path: Path, *, coded: bool) -> None:
    """Write rows that `batches` gives three times; those that a later time lacks are left out."""
    num_lists = lists_for(num_rows)
    centroids = _train(_sample(batches, num_rows, 64 * num_lists), num_lists)
    parts = Placing.of(centroids, coded=coded)
    placed = [(ids, parts.assign(vectors)) for ids, vectors in batches()]
    row_ids = np.concatenate([ids for ids, _ in placed])
    lists = np.concatenate([own for _, own in placed])
    order = np.argsort(row_ids)
    ordered = row_ids[order]

    def groups() -> Iterator[PlacedRows]:
        for ids, vectors in _grouped(batches(), dimension):
            at = np.searchsorted(ordered, ids).clip(max=len(ordered) - 1)
            here = ordered[at] == ids
            yield parts.group(ids[here], lists[order[at[here]]], vectors[here])

    counts = np.bincount(lists, minlength=num_lists)
    _write(path, parts, counts, groups())


def extend(
    index: InvertedIndex,
    kept: np.ndarray,
    row_ids: np.ndarray,
    vectors: np.ndarray,
    path: Path,
) -> None:
    """Write the rows of an index at the positions `kept` (rising), and some more."""
    old, parts = index.file, Placing.of(index.centroids, index.rotation)
    for what in old.shape.kinds:
        old.check(np.arange(index.num_lists), what)
    fresh = parts.assign(vectors)
    size = max(1, _GROUP_BYTES // (2 * index.dimension))

    def groups() -> Iterator[PlacedRows]:
        for start in range(0, len(kept), size):
            at = kept[start : start + size]
            codes = old.arrays["codes"][at] if old.shape.code_size else None
            arrays = (old.arrays["row_ids"][at], index.list_of[at], old.arrays["vectors"][at])
            yield PlacedRows(*arrays, codes)
        for start in range(0, len(row_ids), size):
            here = slice(start, start + size)
            yield parts.group(row_ids[here], fresh[here], vectors[here].astype(np.float16))

    counts = np.bincount(index.list_of[kept], minlength=index.num_lists)
    _write(path, parts, counts + np.bincount(fresh, minlength=index.num_lists), groups())


@dataclass(frozen=True, slots=True)
class Placing:
    """What a row is placed and coded by."""

    centroids: np.ndarray  # float32 [lists, E]
    rotation: np.ndarray | None  # float32 [E, E]; None: there are no codes
    quantizer: Any
    coder: Any

    @classmethod
    def of(
        cls, centroids: np.ndarray, rotation: np.ndarray | None = None, *, coded: bool = False
    ) -> "Placing":
        """Prepare for centroids, with the rotation given, or with a new one for new codes."""
        dimension = centroids.shape[1]
        if coded:
            draw = np.random.default_rng(0).standard_normal((dimension, dimension))
            rotation = np.linalg.qr(draw)[0].astype(np.float32)
        quantizer = _flat(centroids)
        made = None if rotation is None else coder(dimension, _flat(centroids @ rotation))
        return cls(centroids, rotation, quantizer, made)

    def assign(self, vectors: np.ndarray) -> np.ndarray:
        """Return the list of each vector: int32 `[n]`."""
        found: np.ndarray = self.quantizer.search(vectors.astype(np.float32), 1)[1][:, 0]
        return found.astype(np.int32)

    def group(self, row_ids: np.ndarray, lists: np.ndarray, vectors: np.ndarray) -> PlacedRows:
        """Return rows with their codes."""
        if self.rotation is None or not len(row_ids):
            return PlacedRows(row_ids, lists, vectors, None)
        turned = np.ascontiguousarray(vectors.astype(np.float32) @ self.rotation)
        own, codes = lists.astype(np.int64), np.empty((len(lists), self.coder.code_size), np.uint8)
        point = faiss.swig_ptr
        self.coder.encode_vectors(len(own), point(turned), point(own), point(codes))
        return PlacedRows(row_ids, lists, vectors, codes)


def _write(path: Path, parts: Placing, counts: np.ndarray, groups: Iterator[PlacedRows]) -> None:
    """Write a file with room for so many rows in each list."""
    num_lists, dimension = parts.centroids.shape
    coded = parts.rotation is not None
    shape = FileShape.of(int(counts.sum()), num_lists, dimension, coded=coded)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        os.ftruncate(descriptor, shape.offsets()["end"])
        writer = ListWriter.of(descriptor, shape, np.cumsum(counts) - counts)
        for group in groups:
            writer.put(group)
        writer.finish(path, parts)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class ListWriter:
    """Puts groups of rows where their lists have room."""

    descriptor: int
    shape: FileShape
    offsets: dict[str, int]
    starts: np.ndarray  # int64 [lists]
    sizes: np.ndarray  # int64 [lists], so far
    sums: np.ndarray  # uint32 [lists, 2], of codes and vectors so far
    row_ids: np.ndarray  # int64 [n], by position
    row_sums: np.ndarray  # uint64 [n], by position
    found: np.ndarray  # bool [n], positions that are taken

    @classmethod
    def of(cls, descriptor: int, shape: FileShape, starts: np.ndarray) -> "ListWriter":
        """Begin with empty lists."""
        lists, rows = shape.num_lists, shape.num_rows
        return cls(
            descriptor,
            shape,
            shape.offsets(),
            starts.astype(np.int64),
            np.zeros(lists, np.int64),
            np.zeros((lists, 2), np.uint32),
            np.zeros(rows, np.int64),
            np.zeros(rows, np.uint64),
            np.zeros(rows, bool),
        )

    def put(self, group: PlacedRows) -> None:
        """Write rows behind those that their lists have."""
        order = np.argsort(group.lists, kind="stable")
        lists, firsts, counts = np.unique(group.lists[order], return_index=True, return_counts=True)
        begins = self.starts[lists] + self.sizes[lists]
        positions = np.repeat(begins - firsts, counts) + np.arange(len(order))
        vectors = group.vectors[order]
        codes = None if group.codes is None else group.codes[order]
        self.row_ids[positions] = group.row_ids[order]
        self.row_sums[positions] = row_sums(vectors)
        self.found[positions] = True
        self.sizes[lists] += counts
        for number, first, count, at in zip(
            *(a.tolist() for a in (lists, firsts, counts, begins)), strict=True
        ):
            rows = slice(first, first + count)
            self._put(number, "vectors", vectors[rows], at)
            if codes is not None:
                self._put(number, "codes", codes[rows], at)

    def _put(self, number: int, what: What, values: np.ndarray, at: int) -> None:
        column = COLUMNS[what]
        self.sums[number, column] = zlib.crc32(values.data, int(self.sums[number, column]))
        self._write(what, values, at)

    def finish(self, path: Path, parts: Placing) -> None:
        """Write all but the rows, the file's first bytes last."""
        order = np.argsort(np.where(self.found, self.row_ids, np.iinfo(np.int64).max))
        for name, values in (
            ("centroids", parts.centroids),
            ("rotation", parts.rotation),
            ("starts", self.starts),
            ("sizes", self.sizes),
            ("order", order.astype(np.uint32)),
            ("sorted", self.row_ids[order]),
            ("row_ids", self.row_ids),
            ("row_sums", self.row_sums),
        ):
            if values is not None:
                self._write(name, values)
        for what in self.shape.kinds:
            self._write_ids(what)
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        written = InvertedFile.of(path, self.shape, mapped)
        for what in self.shape.kinds:
            column = self.sums[:, COLUMNS[what]]
            column[:] = [written.ids_sum(what, *each) for each in enumerate(column.tolist())]
        self._write("sums", self.sums)
        _put(self.descriptor, start_of(self.shape, mapped), 0)

    def _write_ids(self, what: What) -> None:
        """Write the positions in each list, where FAISS looks for its ids."""
        places = self.shape.id_places(self.sizes, what)
        begin, size = self.offsets[f"{what}_ids"], self.shape.size_of(what)
        every = zip(*(a.tolist() for a in (self.starts, self.sizes, places)), strict=True)
        for start, count, place in every:
            _put(self.descriptor, np.arange(start, start + count).data, begin + size * place)

    def _write(self, name: str, values: np.ndarray, row: int = 0) -> None:
        """Write a section, or rows of it from a position on."""
        at = self.offsets[name] + row * values[:1].nbytes
        _put(self.descriptor, np.ascontiguousarray(values).data, at)


def _put(descriptor: int, data: Any, at: int) -> None:
    """Write all bytes at a place."""
    left = memoryview(data).cast("B")
    while len(left):
        done = os.pwrite(descriptor, left, at)
        left, at = left[done:], at + done


def _grouped(batches: Batch, dimension: int) -> Batch:
    """Yield the rows of several batches together: a list then gets more of them at a time."""
    held: list[tuple[np.ndarray, np.ndarray]] = []
    for batch in batches:
        held.append(batch)
        if sum(len(ids) for ids, _ in held) * 2 * dimension >= _GROUP_BYTES:
            yield _joined(held)
            held = []
    if held:
        yield _joined(held)


def _joined(held: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([ids for ids, _ in held]), np.concatenate([rows for _, rows in held])


def _train(vectors: np.ndarray, num_lists: int) -> np.ndarray:
    """Return centroids by spherical k-means: float32 `[lists, E]`."""
    dimension = vectors.shape[1]
    means = _faiss.Kmeans(
        dimension, num_lists, niter=6, spherical=True, min_points_per_centroid=1, seed=1234
    )
    # 10 rounds change the recall of `bench search` by less than half a percent
    means.train(vectors)
    found: np.ndarray = means.centroids
    return found


def _sample(batches: Batches, num_rows: int, count: int) -> np.ndarray:
    """Return about `count` rows drawn evenly, the same on every run."""
    draw = np.random.default_rng(0)
    share = min(1.0, count / num_rows)
    return np.concatenate(
        [vectors[draw.random(len(vectors)) <= share].astype(np.float32) for _, vectors in batches()]
    )


def _flat(vectors: np.ndarray) -> Any:
    index = _faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, np.float32))
    return index
