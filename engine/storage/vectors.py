"""FAISS indexes: built from batches of rows, saved, loaded and searched; never changed in place."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import isqrt
from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np

from engine.storage.index_file import DamagedIndexError, IndexFile, Sums

_faiss: Any = faiss  # whose stubs lack the constructors that Python has

Batches = Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]  # row ids [n], float16 [n, E]

LEAST_COSINE = -2.0  # below every score, rounding included


@dataclass(frozen=True, slots=True)
class Tuning:
    """Sizes at which searching changes its ways."""

    flat_rows: int = 50_000  # up to here every search is exact
    probe_share: float = 1 / 16  # of the allowed rows that an inverted-file search looks at
    exact_rows: int = 20_000  # so few allowed rows are all looked at
    delta_rows: int = 10_000  # and at least an eighth of the index, before the delta is merged


@dataclass(frozen=True, slots=True)
class NearestRows:
    """The nearest rows of an index, best first, and how they were looked for."""

    row_ids: np.ndarray  # int64 [k]
    scores: np.ndarray  # float32 [k]
    how: str
    exact: bool = True  # every row of the choice was looked at


@dataclass(frozen=True)
class Index:
    """A FAISS index by position, wrapped in one by row id; what is read off it is kept."""

    by_row: Any  # IndexIDMap
    file: IndexFile | None = None  # that it is mapped from; None: it is in memory alone

    @cached_property
    def by_position(self) -> Any:
        """The flat or inverted-file index."""
        return faiss.downcast_index(self.by_row.index)

    @property
    def size(self) -> int:
        """The number of positions."""
        return int(self.by_row.ntotal)

    @property
    def num_lists(self) -> int:
        """The number of inverted lists; 0 for a flat index."""
        return int(getattr(self.by_position, "nlist", 0))

    @property
    def kind(self) -> str:
        """The type of the index in a word."""
        return f"ivf{self.num_lists},fp16" if self.num_lists else "flat"

    @cached_property
    def row_ids(self) -> np.ndarray:
        """The row id at every position: int64 `[n]`."""
        return faiss.vector_to_array(self.by_row.id_map)

    @cached_property
    def centroids(self) -> np.ndarray:
        """The centroid of each inverted list: float32 `[lists, E]`."""
        return faiss.downcast_index(self.by_position.quantizer).reconstruct_n(0, self.num_lists)

    @cached_property
    def list_of(self) -> np.ndarray:
        """The inverted list of each position: int64 `[n]`."""
        return faiss.vector_to_array(self.by_position.direct_map.array) >> 32

    def check(self, lists: np.ndarray) -> None:
        """See to it that inverted lists are what was written, before they are looked at."""
        if self.file is not None and self.num_lists:
            self.file.check(self.by_position, lists)

    def check_all(self) -> None:
        """Check every list."""
        self.check(np.arange(self.num_lists))

    def save(self, path: Path) -> None:
        """Write a FAISS file whose ids are row ids, and sums of what it holds."""
        self.check_all()
        faiss.write_index(self.by_row, str(path))
        Sums.of_index(self.by_row).append(path)


@dataclass(frozen=True)
class Base:
    """An index and the positions in it that count; several threads may search at once.

    A row whose vector changed lies at several positions: the last one counts, the others are
    tombstones, as are removed rows.
    """

    index: Index
    row_ids: np.ndarray  # int64 [n], sorted: the rows that count
    positions: np.ndarray  # int64 [n], where each of them lies

    @cached_property
    def everything(self) -> "IndexChoice":
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
        if self.index.file is not None and self.index.num_lists:
            self.index.check(np.unique(self.index.list_of[positions]))
        return self.index.by_position.reconstruct_batch(np.ascontiguousarray(positions, np.int64))

    def choose(self, positions: np.ndarray) -> "IndexChoice":
        """Prepare a search among the rows at positions."""
        # with a selector a flat scan stays on one thread: for one query that is the faster way
        selector, per_list = None if self.index.num_lists else _faiss.IDSelectorAll(), None
        if len(positions) < self.index.size:
            mask = np.zeros(self.index.size, bool)
            mask[positions] = True
            selector = _faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
        if self.index.num_lists:
            lists = self.index.list_of[positions]
            per_list = np.bincount(lists, minlength=self.index.num_lists)
        return IndexChoice(len(positions), selector, per_list)

    def search(
        self,
        query: np.ndarray,
        k: int,
        among: "IndexChoice",
        tuning: Tuning,
        *,
        exact: bool = False,
    ) -> NearestRows:
        """Return the `k` nearest rows among a choice; never fewer while the choice has more."""
        index, k = self.index, min(k, among.count)
        if k == 0:
            return NearestRows(np.empty(0, np.int64), np.empty(0, np.float32), index.kind)
        how, parameters, whole = index.kind, _faiss.SearchParameters(sel=among.selector), True
        if among.per_list is not None:
            nearest = np.argsort(-products(index.centroids, query), kind="stable")
            probes = index.num_lists
            if not exact:
                probes = _enough(among.per_list[nearest], k, tuning)
            whole = probes == index.num_lists
            how += ", exact scan" if whole else f", {probes} lists"
            found, scores = self._probe(query, k, nearest[:probes], among.selector)
        else:
            scores, found = index.by_position.search(query[None], k, params=parameters)
        return NearestRows(index.row_ids[found.reshape(-1)], scores.reshape(-1), how, whole)

    def _probe(
        self, query: np.ndarray, k: int, lists: np.ndarray, selector: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return positions and scores of the nearest rows in some inverted lists."""
        self.index.check(lists)
        scores, found = np.empty((1, k), np.float32), np.empty((1, k), np.int64)
        assigned = np.ascontiguousarray(lists, np.int64)
        closeness = np.zeros(len(lists), np.float32)  # used by residuals alone, which there are not
        point, parameters = faiss.swig_ptr, _faiss.SearchParametersIVF
        self.index.by_position.search_preassigned_c(
            *(1, point(query), k, point(assigned), point(closeness), point(scores), point(found)),
            False,
            parameters(sel=selector, nprobe=len(lists)),
        )
        return found, scores

    def above(self, query: np.ndarray, least: float, among: "IndexChoice") -> NearestRows:
        """Return the rows among a choice that score at least so much, in no order."""
        positions, scores = self._range(query, float(np.nextafter(np.float32(least), -2)), among)
        return NearestRows(self.index.row_ids[positions], scores, "exact scan")

    def scores(self, query: np.ndarray, among: "IndexChoice") -> np.ndarray:
        """Return the score at each position of the index, NaN at those that are not chosen."""
        found = np.full(self.index.size, np.nan, np.float32)
        positions, scores = self._range(query, LEAST_COSINE, among)
        found[positions] = scores
        return found

    def _range(
        self, query: np.ndarray, cutoff: float, among: "IndexChoice"
    ) -> tuple[np.ndarray, np.ndarray]:
        if not among.count:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        if among.per_list is not None:
            return self._range_of_lists(query, cutoff, np.flatnonzero(among.per_list), among)
        parameters = _faiss.SearchParameters(sel=among.selector)
        _, scores, positions = self.index.by_position.range_search(
            query[None], cutoff, params=parameters
        )
        return positions, scores

    def _range_of_lists(
        self, query: np.ndarray, cutoff: float, lists: np.ndarray, among: "IndexChoice"
    ) -> tuple[np.ndarray, np.ndarray]:
        """Search inverted lists that are given: FAISS's own choice first has all of them fetched.

        That takes as long again as the search, where they lie in mapped memory.
        """
        self.index.check(lists)
        assigned = np.ascontiguousarray(lists, np.int64)
        closeness = np.zeros(len(lists), np.float32)  # used by residuals alone, which there are not
        point, found = faiss.swig_ptr, _faiss.RangeSearchResult(1)
        parameters = _faiss.SearchParametersIVF(sel=among.selector, nprobe=len(lists))
        self.index.by_position.range_search_preassigned_c(
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


@dataclass(frozen=True, slots=True)
class IndexChoice:
    """Rows to search among: how many, how FAISS tells them, how many lie in each list."""

    count: int
    selector: Any
    per_list: np.ndarray | None


def _enough(per_list: np.ndarray, k: int, tuning: Tuning) -> int:
    """Return how many of the lists, nearest first, hold enough of the chosen rows."""
    reached = np.cumsum(per_list)
    enough = max(tuning.exact_rows, 32 * k, int(reached[-1] * tuning.probe_share))
    return min(int(np.searchsorted(reached, enough)) + 1, len(per_list))


def products(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Return the inner product of each vector `[n, E]` with a query, on this thread alone.

    `@` would wake BLAS's threads; where ingests keep the cores busy, waiting for them takes longer
    than the search itself.
    """
    found: np.ndarray = np.einsum("ne,e->n", vectors, query)
    return found


def load(path: Path, report: Callable[[], None] = lambda: None) -> Base:
    """Map a saved index into memory; all that it holds counts, the last position of each row id.

    `report` is called where a search later finds a part of it damaged.
    """
    return _whole(*IndexFile.open(path, report))


def build(dimension: int, num_rows: int, batches: Batches, tuning: Tuning) -> Base:
    """Build an index of the type that suits the number of rows; `batches` may be called twice."""
    inner: Any = faiss.IndexFlatIP(dimension)
    if num_rows > tuning.flat_rows:
        inner = _inverted_file(dimension, num_rows, batches)
    index = faiss.IndexIDMap(inner)
    for row_ids, vectors in batches():
        index.add_with_ids(vectors.astype(np.float32), row_ids)
    return _whole(index)


def extend(base: Base, row_ids: np.ndarray, vectors: np.ndarray) -> Base:
    """Return a copy of an index with more rows; a row that was there takes its new vector."""
    index = _in_memory(base.index)
    index.add_with_ids(vectors.astype(np.float32), row_ids)
    whole = _whole(index)
    return whole.only(np.isin(whole.row_ids, np.union1d(base.row_ids, row_ids)))


def _inverted_file(dimension: int, num_rows: int, batches: Batches) -> Any:
    num_lists = 2 * isqrt(num_rows)
    quantizer = faiss.IndexFlatIP(dimension)
    kind, metric = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    # by_residual is False: the codes are the stored float16 values, so scores are exact
    inner = faiss.IndexIVFScalarQuantizer(quantizer, dimension, num_lists, kind, metric, False)
    inner.cp.spherical = True
    inner.cp.niter = 6  # 10 changes the recall of `bench search` by less than half a percent
    inner.cp.min_points_per_centroid = 1
    inner.train(_sample(batches, num_rows, 64 * num_lists))
    inner.make_direct_map()
    return inner


def _sample(batches: Batches, num_rows: int, count: int) -> np.ndarray:
    """Return about `count` rows drawn evenly, the same on every run."""
    draw = np.random.default_rng(0)
    share = min(1.0, count / num_rows)
    return np.concatenate(
        [vectors[draw.random(len(vectors)) <= share].astype(np.float32) for _, vectors in batches()]
    )


def _in_memory(index: Index) -> Any:
    """Return a copy of an index that may be changed."""
    if index.file is None:
        return faiss.clone_index(index.by_row)
    index.check_all()
    try:
        return faiss.read_index(str(index.file.path))
    except RuntimeError as error:
        raise DamagedIndexError(f"the index {index.file.path} cannot be read") from error


def _whole(by_row: Any, file: IndexFile | None = None) -> Base:
    index = Index(by_row, file)
    ids = index.row_ids
    if bool((ids[1:] > ids[:-1]).all()):
        return Base(index, ids, np.arange(len(ids)))
    row_ids, backwards = np.unique(index.row_ids[::-1], return_index=True)
    return Base(index, row_ids, index.size - 1 - backwards)
