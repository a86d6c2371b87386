"""What a search sees: an index of merged rows and an exact delta; a change gives a new value."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from engine.errors import NotFoundError
from engine.storage import row_id
from engine.storage.tuning import LEAST_COSINE, IndexChoice, NearestRows, Tuning, products
from engine.storage.vectors import Base


@dataclass(frozen=True, slots=True)
class Hits:
    """Rows by falling score, equal scores by rising row id; `index` says how they were found."""

    row_ids: np.ndarray  # int64 [k]
    scores: np.ndarray  # float32 [k], cosine
    index: str  # such as "flat", "ivf2000,fp16, 131 lists + delta", "exact scan"
    exact: bool = True  # every row was looked at; False: an index chose, and may have missed some


@dataclass(frozen=True, slots=True)
class DeltaBlock:
    """Rows that are searched exactly."""

    row_ids: np.ndarray  # int64 [n], sorted
    vectors: np.ndarray  # float32 [n, E]

    def only(self, keep: np.ndarray) -> Self:
        """Return the rows that a mask keeps."""
        if keep.all():
            return self
        return replace(self, row_ids=self.row_ids[keep], vectors=self.vectors[keep])

    def search(self, query: np.ndarray, k: int) -> NearestRows:
        """Return the `k` nearest rows in no order."""
        scores = products(self.vectors, query)
        best = np.argpartition(-scores, k)[:k] if k < len(scores) else np.arange(len(scores))
        return NearestRows(self.row_ids[best], scores[best], "delta")


@dataclass(frozen=True, slots=True)
class SearchScope:
    """Rows to search among: a choice of those in the index, and blocks of those that are not."""

    merged: IndexChoice | None
    blocks: tuple[DeltaBlock, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All rows of one space at one moment; readers keep theirs while a writer makes the next."""

    dimension: int
    tuning: Tuning
    base: Base | None = None
    delta: tuple[DeltaBlock, ...] = ()  # larger blocks first

    @property
    def num_delta(self) -> int:
        """Rows that are not merged yet."""
        return sum(len(block.row_ids) for block in self.delta)

    @property
    def num_rows(self) -> int:
        """All rows that a search sees."""
        return self.num_delta + (0 if self.base is None else len(self.base.row_ids))

    @property
    def wants_merge(self) -> bool:
        """The delta has become large beside the index."""
        merged = 0 if self.base is None else len(self.base.row_ids)
        return self.num_delta > max(self.tuning.delta_rows, merged // 8)

    def without(self, row_ids: np.ndarray) -> Self:
        """Return this without some rows."""
        return self._filtered(lambda own: ~_marked(own, np.sort(row_ids)))

    def without_videos(self, video_ids: Sequence[int]) -> Self:
        """Return this without the rows of some videos."""
        return self._filtered(lambda own: ~np.isin(row_id.videos_of(own), video_ids))

    def _filtered(self, keep: Callable[[np.ndarray], np.ndarray]) -> Self:
        base = None if self.base is None else self.base.only(keep(self.base.row_ids))
        blocks = (block.only(keep(block.row_ids)) for block in self.delta)
        return replace(self, base=base, delta=tuple(b for b in blocks if len(b.row_ids)))

    def adding(self, row_ids: np.ndarray, vectors: np.ndarray) -> Self:
        """Return this with rows added to the delta; a row that was there takes its new vector."""
        if not len(row_ids):
            return self
        rest = self.without(row_ids)
        new, blocks = _sorted_block(row_ids, vectors.astype(np.float32)), list(rest.delta)
        # blocks at least double from right to left, so a row is copied log(n) times in all
        while blocks and len(blocks[-1].row_ids) < 2 * len(new.row_ids):
            last = blocks.pop()
            new = _sorted_block(
                np.concatenate([last.row_ids, new.row_ids]),
                np.concatenate([last.vectors, new.vectors]),
            )
        return replace(rest, delta=(*blocks, new))

    def among(self, row_ids: np.ndarray | None) -> "SearchScope":
        """Prepare a search among rows (sorted, unique), or among all."""
        if row_ids is None:
            return SearchScope(self.base.everything if self.base else None, self.delta)
        blocks = (block.only(members(block.row_ids, row_ids)) for block in self.delta)
        merged = None
        if self.base is not None:
            positions = self.base.find(row_ids)
            merged = self.base.choose(positions[positions >= 0])
        return SearchScope(merged, tuple(block for block in blocks if len(block.row_ids)))

    def search(
        self, query: np.ndarray, k: int, among: "SearchScope", *, exact: bool = False
    ) -> Hits:
        """Return the `k` nearest rows among those chosen; `exact`: by looking at every one."""
        found = []
        if self.base is not None and among.merged is not None:
            found.append(self.base.search(query, k, among.merged, self.tuning, exact=exact))
        found += [block.search(query, k) for block in among.blocks]
        how = [found[0].how] if self.base is not None else []
        how += ["delta" if how else "exact scan"] if self.delta else []
        return _ranked(found, k, " + ".join(how))

    def scores(self, query: np.ndarray, among: "SearchScope") -> Hits:
        """Return the exact score of every row among those chosen."""
        found = []
        if self.base is not None and among.merged is not None:
            found.append(self.base.above(query, LEAST_COSINE, among.merged))
        found += [
            NearestRows(block.row_ids, products(block.vectors, query), "delta")
            for block in among.blocks
        ]
        return _ranked(found, None, "exact scan")

    def vectors(self, row_ids: np.ndarray) -> np.ndarray:
        """Return the vectors of rows in the order given: float32 `[n, E]`."""
        result = np.empty((len(row_ids), self.dimension), np.float32)
        missing = np.ones(len(row_ids), bool)
        if self.base is not None:
            positions = self.base.find(row_ids)
            here = positions >= 0
            result[here] = self.base.unpack(positions[here])
            missing &= ~here
        for block in self.delta:
            at = np.searchsorted(block.row_ids, row_ids).clip(max=len(block.row_ids) - 1)
            here = block.row_ids[at] == row_ids
            result[here] = block.vectors[at[here]]
            missing &= ~here
        if missing.any():
            raise NotFoundError(row_id.no_row(row_ids[missing][0]))
        return result

    def has(self, row_ids: np.ndarray) -> np.ndarray:
        """Return for each row whether it is here: bool `[n]`."""
        parts = [block.row_ids for block in self.delta]
        if self.base is not None:
            parts.append(self.base.row_ids)
        found = np.zeros(len(row_ids), bool)
        for own in parts:
            found |= members(row_ids, own)
        return found


def members(row_ids: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return for each id whether a sorted array has it; cheap where `row_ids` is short."""
    if not len(among):
        return np.zeros(len(row_ids), bool)
    return among[np.searchsorted(among, row_ids).clip(max=len(among) - 1)] == row_ids


def _marked(own: np.ndarray, row_ids: np.ndarray) -> np.ndarray:
    """Return for each of a sorted array whether it is among a few row ids."""
    marks = np.zeros(len(own), bool)
    marks[np.searchsorted(own, row_ids[members(row_ids, own)])] = True
    return marks


def _sorted_block(row_ids: np.ndarray, vectors: np.ndarray) -> DeltaBlock:
    order = np.argsort(row_ids)
    return DeltaBlock(row_ids[order], vectors[order])


def _ranked(found: Sequence[NearestRows], k: int | None, how: str) -> Hits:
    ids = np.concatenate([np.empty(0, np.int64), *(f.row_ids for f in found)])
    scores = np.concatenate([np.empty(0, np.float32), *(f.scores for f in found)])
    order = np.lexsort((ids, -scores))[:k]
    return Hits(ids[order], scores[order], how or "none", all(part.exact for part in found))
