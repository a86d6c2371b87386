"""An inverted-file index: lists near a query are probed, by codes of a few bits where it has them.

Codes choose more rows than are asked for; their float16 vectors, mapped, then decide.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import faiss
import numpy as np

from engine.storage.flat import bitmap
from engine.storage.inverted_file import BITS, InvertedFile, What, coder
from engine.storage.tuning import IndexChoice, Tuning, products

_faiss: Any = faiss  # whose stubs lack the constructors that Python has

_FETCHED = 256  # one in so many rows are fetched one by one rather than found in a scan

_Found = tuple[np.ndarray, np.ndarray]  # positions and scores


@dataclass(frozen=True)
class InvertedIndex:
    """A mapped file and FAISS's views of it; several threads may search at once."""

    file: InvertedFile

    @property
    def size(self) -> int:
        """The number of positions."""
        return self.file.shape.num_rows

    @property
    def num_lists(self) -> int:
        """The number of inverted lists."""
        return self.file.shape.num_lists

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return self.file.shape.dimension

    @property
    def is_coded(self) -> bool:
        """Whether there are codes of a few bits."""
        return bool(self.file.shape.code_size)

    @property
    def kind(self) -> str:
        """The type of the index in a word."""
        return f"ivf{self.num_lists}{f',{BITS}bit' if self.is_coded else ''},fp16"

    @property
    def row_ids(self) -> np.ndarray:
        """The row id at every position: int64 `[n]`."""
        return self.file.arrays["row_ids"]

    @property
    def centroids(self) -> np.ndarray:
        """The centroid of each inverted list: float32 `[lists, E]`."""
        return self.file.arrays["centroids"]

    @property
    def rotation(self) -> np.ndarray | None:
        """What vectors are turned by before they are coded: float32 `[E, E]`."""
        return self.file.arrays.get("rotation")

    @cached_property
    def by_row_id(self) -> _Found:
        """All row ids, rising, and the position of each."""
        arrays = self.file.arrays
        count = int(arrays["sizes"].sum())
        return arrays["sorted"][:count], arrays["order"][:count].astype(np.int64)

    @cached_property
    def list_of(self) -> np.ndarray:
        """The inverted list of each position: int32 `[n]`."""
        starts = self.file.arrays["starts"]
        room = np.diff(starts, append=self.size)
        return np.repeat(np.arange(self.num_lists, dtype=np.int32), room)

    @cached_property
    def vectors(self) -> Any:
        """FAISS's index of the float16 vectors."""
        return self._with_lists(
            _faiss.IndexIVFScalarQuantizer(
                *(_flat(self.centroids), self.dimension, self.num_lists),
                *(faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT, False),
            ),
            "vectors",
        )

    @cached_property
    def codes(self) -> Any:
        """FAISS's index of the codes, whose vectors are turned."""
        return self._with_lists(
            coder(self.dimension, _flat(self.centroids @ self.rotation)), "codes"
        )

    def _with_lists(self, index: Any, what: What) -> Any:
        index.is_trained, index.ntotal = True, self.size
        lists = self.file.lists(what)
        lists.this.disown()  # the index owns them from now on
        index.replace_invlists(lists, True)
        return index

    def choose(self, positions: np.ndarray) -> IndexChoice:
        """Prepare a search among the rows at positions."""
        sizes = self.file.arrays["sizes"]
        if len(positions) == int(sizes.sum()):
            return IndexChoice(positions, None, sizes)
        per_list = np.bincount(self.list_of[positions], minlength=self.num_lists)
        return IndexChoice(positions, bitmap(positions, self.size), per_list)

    def search(
        self, query: np.ndarray, k: int, among: IndexChoice, tuning: Tuning, *, exact: bool
    ) -> tuple[np.ndarray, np.ndarray, str, bool]:
        """Return positions and scores of the nearest rows, how they were found, whether exactly."""
        assert among.per_list is not None
        if among.count <= min(tuning.exact_rows, self.size // _FETCHED):
            scores = products(self.unpack(among.positions), query)
            best = _best(scores, k)
            return among.positions[best], scores[best], f"{self.kind}, exact scan", True
        closeness = products(self.centroids, query)
        nearest = np.argsort(-closeness, kind="stable")
        reached = np.cumsum(among.per_list[nearest])
        share = tuning.coded_share if self.is_coded else tuning.probe_share
        enough = max(tuning.exact_rows, 32 * k, int(reached[-1] * share))
        probes = min(int(np.searchsorted(reached, enough)) + 1, self.num_lists)
        if exact or probes == self.num_lists:
            found = self._probe("vectors", query, k, nearest, closeness, among.selector)
            return *found, f"{self.kind}, exact scan", True
        lists, how = nearest[:probes], f"{self.kind}, {probes} lists"
        if not self.is_coded:
            found = self._probe("vectors", query, k, lists, closeness, among.selector)
            return *found, how, False
        count = min(candidates(k), int(reached[probes - 1]))
        chosen = self._by_codes(query, count, lists, closeness, among.selector)
        scores = products(self.unpack(chosen), query)
        best = _best(scores, k)
        return chosen[best], scores[best], f"{how}, best {count} looked at", False

    def _by_codes(
        self,
        query: np.ndarray,
        count: int,
        lists: np.ndarray,
        closeness: np.ndarray,
        selector: Any,
    ) -> np.ndarray:
        """Return the positions of the rows whose codes score best."""
        assert self.rotation is not None
        turned = np.ascontiguousarray(products(self.rotation.T, query))
        found = self._probe("codes", turned, count, lists, closeness, selector)[0]
        return found[found >= 0]

    def _probe(
        self,
        what: What,
        query: np.ndarray,
        k: int,
        lists: np.ndarray,
        closeness: np.ndarray,
        selector: Any,
    ) -> _Found:
        """Return positions and scores of the nearest rows in some inverted lists."""
        self.file.check(lists, what)
        index = self.codes if what == "codes" else self.vectors
        scores, found = np.empty((1, k), np.float32), np.empty((1, k), np.int64)
        assigned = np.ascontiguousarray(lists, np.int64)
        near = np.ascontiguousarray(closeness[lists], np.float32)
        point, parameters = faiss.swig_ptr, _faiss.SearchParametersIVF
        index.search_preassigned_c(
            *(1, point(query), k, point(assigned), point(near), point(scores), point(found)),
            False,
            parameters(sel=selector, nprobe=len(lists)),
        )
        return found[0], scores[0]

    def range(self, query: np.ndarray, cutoff: float, among: IndexChoice) -> _Found:
        """Return positions and scores of the rows that score more than a cut-off.

        The lists are given: FAISS's own choice first has all of them fetched. That takes as long
        again as the search, where they lie in mapped memory.
        """
        assert among.per_list is not None
        lists = np.flatnonzero(among.per_list)
        self.file.check(lists, "vectors")
        assigned = np.ascontiguousarray(lists, np.int64)
        closeness = np.zeros(len(lists), np.float32)  # used by residuals alone, which there are not
        point, found = faiss.swig_ptr, _faiss.RangeSearchResult(1)
        parameters = _faiss.SearchParametersIVF(sel=among.selector, nprobe=len(lists))
        self.vectors.range_search_preassigned_c(
            *(1, point(query), cutoff, point(assigned), point(closeness), found, False, parameters)
        )
        count = int(faiss.rev_swig_ptr(found.lims, 2)[1])
        if not count:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        positions, scores = found.labels, found.distances
        return (
            faiss.rev_swig_ptr(positions, count).copy(),
            faiss.rev_swig_ptr(scores, count).copy(),
        )

    def unpack(self, positions: np.ndarray) -> np.ndarray:
        """Return the vectors at positions: float32 `[n, E]`."""
        return self.file.fetch(positions)


def candidates(k: int) -> int:
    """Return how many rows codes choose where `k` are asked for.

    Chosen on one seed of made-up texts, and on texts of the built-in model: docs/benchmarks.md.
    """
    return max(100, 4 * k)


def _best(scores: np.ndarray, k: int) -> np.ndarray:
    """Return where the `k` highest scores are, in no order."""
    if k >= len(scores):
        return np.arange(len(scores))
    return np.argpartition(-scores, k)[:k]


def _flat(vectors: np.ndarray) -> Any:
    index = _faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, np.float32))
    return index
