"""Indexes: built from batches of rows into a file, extended into another, mapped and searched."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from engine.storage import inverted_writer
from engine.storage.flat import FlatIndex, write_flat
from engine.storage.inverted import InvertedIndex
from engine.storage.inverted_file import MAGIC, InvertedFile
from engine.storage.inverted_writer import Batches
from engine.storage.tuning import LEAST_COSINE, IndexChoice, NearestRows, Tuning


@dataclass(frozen=True)
class Base:
    """An index and the positions in it that count; several threads may search at once.

    Rows that were removed or changed are tombstones, until the index is written anew.
    """

    index: FlatIndex | InvertedIndex
    row_ids: np.ndarray  # int64 [n], sorted: the rows that count
    positions: np.ndarray  # int64 [n], where each of them lies

    @cached_property
    def everything(self) -> IndexChoice:
        """All rows that count, ready for a search."""
        return self.choose(self.positions)

    def find(self, row_ids: np.ndarray) -> np.ndarray:
        """Return the position of each row, -1 for one that does not count here."""
        if not len(self.row_ids):
            return np.full(len(row_ids), -1, np.int64)
        at = np.searchsorted(self.row_ids, row_ids).clip(max=len(self.row_ids) - 1)
        return np.where(self.row_ids[at] == row_ids, self.positions[at], -1)

    def only(self, keep: np.ndarray) -> Self:
        """Return this index with the rows outside a mask as tombstones."""
        if keep.all():
            return self
        return replace(self, row_ids=self.row_ids[keep], positions=self.positions[keep])

    def unpack(self, positions: np.ndarray) -> np.ndarray:
        """Return the vectors at positions: float32 `[n, E]`."""
        return self.index.unpack(positions)

    def choose(self, positions: np.ndarray) -> IndexChoice:
        """Prepare a search among the rows at positions."""
        return self.index.choose(positions)

    def search(
        self,
        query: np.ndarray,
        k: int,
        among: IndexChoice,
        tuning: Tuning,
        *,
        exact: bool = False,
    ) -> NearestRows:
        """Return the `k` nearest rows among a choice; never fewer while the choice has more."""
        k = min(k, among.count)
        if k == 0:
            return NearestRows(np.empty(0, np.int64), np.empty(0, np.float32), self.index.kind)
        found, scores, how, whole = self.index.search(query, k, among, tuning, exact=exact)
        return NearestRows(self.index.row_ids[found], scores, how, whole)

    def above(self, query: np.ndarray, least: float, among: IndexChoice) -> NearestRows:
        """Return the rows among a choice that score at least so much, in no order."""
        positions, scores = self._range(query, float(np.nextafter(np.float32(least), -2)), among)
        return NearestRows(self.index.row_ids[positions], scores, "exact scan")

    def scores(self, query: np.ndarray, among: IndexChoice) -> np.ndarray:
        """Return the score at each position of the index, NaN at those that are not chosen."""
        found = np.full(self.index.size, np.nan, np.float32)
        positions, scores = self._range(query, LEAST_COSINE, among)
        found[positions] = scores
        return found

    def _range(
        self, query: np.ndarray, cutoff: float, among: IndexChoice
    ) -> tuple[np.ndarray, np.ndarray]:
        if not among.count:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        return self.index.range(query, cutoff, among)


def load(path: Path, report: Callable[[], None] = lambda: None) -> Base:
    """Map a saved index into memory; all that it holds counts.

    `report` is called where a search later finds a part of it damaged.
    """
    with path.open("rb") as file:
        is_inverted = file.read(len(MAGIC)) == MAGIC
    index: FlatIndex | InvertedIndex = (
        InvertedIndex(InvertedFile.open(path, report)) if is_inverted else FlatIndex.open(path)
    )
    return Base(index, *index.by_row_id)


def build(dimension: int, num_rows: int, batches: Batches, tuning: Tuning, path: Path) -> None:
    """Write an index of the type that suits the number of rows; `batches` may be called thrice."""
    if num_rows > tuning.flat_rows:
        coded = num_rows > tuning.coded_rows
        inverted_writer.build(dimension, num_rows, batches, path, coded=coded)
        return
    found = list(batches())
    row_ids = np.concatenate([np.empty(0, np.int64), *(ids for ids, _ in found)])
    vectors = np.concatenate([np.empty((0, dimension)), *(rows for _, rows in found)])
    write_flat(dimension, row_ids, vectors, path)


def extend(base: Base, row_ids: np.ndarray, vectors: np.ndarray, path: Path) -> None:
    """Write what counts of an index, and more rows, as a new one of its type.

    A row that was there takes its new vector.
    """
    kept = base.positions[~np.isin(base.row_ids, row_ids)]
    if isinstance(base.index, InvertedIndex):
        inverted_writer.extend(base.index, np.sort(kept), row_ids, vectors, path)
        return
    every = np.concatenate([base.unpack(kept), vectors])
    ids = np.concatenate([base.index.row_ids[kept], row_ids])
    write_flat(vectors.shape[1], ids, every, path)
