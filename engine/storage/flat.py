"""A flat index: every vector in float32, all of them looked at by every search."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from engine.storage.index_file import map_index, write_index
from engine.storage.tuning import IndexChoice, Tuning

_faiss: Any = faiss  # whose stubs lack the constructors that Python has


@dataclass(frozen=True)
class FlatIndex:
    """A FAISS index by position, wrapped in one by row id."""

    by_row: Any  # IndexIDMap
    num_lists = 0
    kind = "flat"
    is_coded = False

    @classmethod
    def open(cls, path: Path) -> "FlatIndex":
        """Map a file into memory."""
        return cls(map_index(path))

    @property
    def size(self) -> int:
        """The number of positions."""
        return int(self.by_row.ntotal)

    @cached_property
    def by_position(self) -> Any:
        """The index whose ids are positions."""
        return faiss.downcast_index(self.by_row.index)

    @cached_property
    def row_ids(self) -> np.ndarray:
        """The row id at every position: int64 `[n]`."""
        return faiss.vector_to_array(self.by_row.id_map)

    @cached_property
    def by_row_id(self) -> tuple[np.ndarray, np.ndarray]:
        """All row ids, rising, and the position of each."""
        order = np.argsort(self.row_ids)
        return self.row_ids[order], order

    def choose(self, positions: np.ndarray) -> IndexChoice:
        """Prepare a search among the rows at positions."""
        # with a selector a flat scan stays on one thread: for one query that is the faster way
        selector = _faiss.IDSelectorAll()
        if len(positions) < self.size:
            selector = bitmap(positions, self.size)
        return IndexChoice(positions, selector)

    def search(
        self, query: np.ndarray, k: int, among: IndexChoice, tuning: Tuning, *, exact: bool
    ) -> tuple[np.ndarray, np.ndarray, str, bool]:
        """Return positions and scores of the nearest rows, how they were found, whether exactly."""
        del tuning, exact
        parameters = _faiss.SearchParameters(sel=among.selector)
        scores, found = self.by_position.search(query[None], k, params=parameters)
        return found.reshape(-1), scores.reshape(-1), self.kind, True

    def range(
        self, query: np.ndarray, cutoff: float, among: IndexChoice
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return positions and scores of the rows that score more than a cut-off."""
        parameters = _faiss.SearchParameters(sel=among.selector)
        _, scores, positions = self.by_position.range_search(query[None], cutoff, params=parameters)
        return positions, scores

    def unpack(self, positions: np.ndarray) -> np.ndarray:
        """Return the vectors at positions: float32 `[n, E]`."""
        found: np.ndarray = self.by_position.reconstruct_batch(
            np.ascontiguousarray(positions, np.int64)
        )
        return found


def write_flat(dimension: int, row_ids: np.ndarray, vectors: np.ndarray, path: Path) -> None:
    """Write rows as a flat index."""
    inner: Any = faiss.IndexFlatIP(dimension)
    index = faiss.IndexIDMap(inner)
    index.add_with_ids(np.ascontiguousarray(vectors, np.float32), row_ids)
    write_index(index, path)


def bitmap(positions: np.ndarray, size: int) -> Any:
    """Return FAISS's selector of some positions of so many."""
    mask = np.zeros(size, bool)
    mask[positions] = True
    return _faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
