"""Exact answers from approximate vectors: re-embed what could change the answer, and keep it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.errors import VideoError
from engine.operators.allowance import Residuals, Widths
from engine.operators.stop import may_cross, may_enter
from engine.operators.work import Refined
from engine.storage.store import Hits, Store

Images = Sequence[NDArray[np.uint8]]
Redecode = Callable[[int, Sequence[int]], Images]  # (video_id, frame numbers) to their pictures
EmbedImages = Callable[[Images], NDArray[np.float32]]
Query = NDArray[np.float32]
Ids = NDArray[np.int64]

_BATCH = 16  # rows made exact before looking again
_CLUSTERS, _RUN = 12, 4  # the audit draws that many places, and so many rows in a row at each
_GROWTH = 4  # so many times more approximate rows ask for a new audit


@dataclass(slots=True)
class Refiner:
    """Makes rows of one space exact, within a budget; counts what it did.

    `confidence` is that of each row's allowance. Rows of a video whose file cannot be read stay
    approximate, and the answer is not complete.
    """

    store: Store
    space: str
    redecode: Redecode
    embed_images: EmbedImages
    confidence: float = 0.99
    max_frames: int | None = None
    max_seconds: float | None = None
    refined: int = 0
    started: float = field(default_factory=perf_counter)
    unreadable: set[int] = field(default_factory=set)  # ids of videos

    @property
    def seconds(self) -> float:
        """Time since it was made."""
        return perf_counter() - self.started

    def room(self) -> int:
        """Rows that the budget still allows."""
        if self.max_seconds is not None and self.seconds >= self.max_seconds:
            return 0
        return _BATCH if self.max_frames is None else max(0, self.max_frames - self.refined)

    def refine(self, row_ids: Ids) -> None:
        """Decode and embed these rows densely, video by video, and store the exact vectors."""
        for video_id in np.unique(row_ids >> 32).tolist():
            frames = np.sort(row_ids[row_ids >> 32 == video_id] & 0xFFFFFFFF)
            try:
                images = self.redecode(video_id, frames.tolist())
            except VideoError:
                self.unreadable.add(video_id)
                continue
            vectors = self.embed_images(images)
            self.store.supersede(self.space, video_id, frames.astype(np.int32), vectors)
            self.refined += len(frames)

    def residuals(self) -> Residuals | None:
        """Return the space's audited rows, drawing them first where there are none or too few."""
        catalog = self.store.catalog
        rows = self.store.rows(self.space, None, ["row_id", "drift", "exact"])
        open_rows = rows.filter(pa.array(~_flags(rows)))
        known = catalog.calibration(self.space) or {}
        stored = known.get("residuals")
        if stored and open_rows.num_rows <= _GROWTH * max(stored["rows"], 64):
            return Residuals.of_json(stored)
        drawn = self._audit(open_rows)
        if drawn is not None:
            catalog.set_calibration(self.space, {**known, "residuals": drawn.as_json()})
        return drawn

    def _audit(self, rows: pa.Table) -> Residuals | None:
        """Make a random sample exact, a few neighbours at each of some places."""
        random = np.random.default_rng(rows.num_rows)
        starts = random.choice(rows.num_rows, min(_CLUSTERS, rows.num_rows), replace=False)
        places = np.unique((starts[:, None] + np.arange(_RUN)).clip(max=rows.num_rows - 1))
        row_ids = rows.column("row_id").to_numpy()[places]
        before = self.store.vectors(self.space, row_ids)
        self.refine(row_ids)
        read = ~np.isin(row_ids >> 32, list(self.unreadable))
        if read.sum() < 2:
            return None
        after = self.store.vectors(self.space, row_ids[read])
        drifts = rows.column("drift").to_numpy()[places][read]
        return Residuals.of_rows(after, before[read], drifts, rows.num_rows)


@dataclass(slots=True)
class _Pool:
    """Candidate rows with what is known of them."""

    row_ids: Ids
    scores: NDArray[np.float64]
    exact: NDArray[np.bool_]
    widths: Widths
    allowances: NDArray[np.float64]

    def settle(self, refiner: Refiner, query: Query, picked: NDArray[np.intp]) -> None:
        """Make the picked rows exact; those that cannot be read are left as they are."""
        refiner.refine(self.row_ids[picked])
        lost = np.isin(self.row_ids[picked] >> 32, list(refiner.unreadable))
        done = picked[~lost]
        if len(done):
            vectors = refiner.store.vectors(refiner.space, self.row_ids[done])
            self.scores[done] = vectors @ query
        self.exact[done] = True

    def readable(self, refiner: Refiner) -> NDArray[np.bool_]:
        return ~np.isin(self.row_ids >> 32, list(refiner.unreadable))


def refine_top_k(
    refiner: Refiner, query: Query, k: int, *, depth: int = 0, allowed: Ids | None = None
) -> tuple[Hits, Refined]:
    """Find the `k` best rows by exact score, or as near as the budget allows.

    Candidates are made exact, the most promising first, until no approximate row's score plus its
    allowance reaches the k-th best exact score. Up to `depth` further hits follow as they are.
    """
    count = max(depth, 4 * k, 64)
    hits = refiner.store.search(refiner.space, query, count, allowed=allowed)
    if not len(hits.row_ids) or not (residuals := _needed(refiner, hits.row_ids)):
        kept = max(k, depth)
        return Hits(hits.row_ids[:kept], hits.scores[:kept], hits.index), Refined()
    pool = _pool(refiner, residuals, query, hits)
    while True:
        waiting = may_enter(pool.scores, pool.allowances, pool.exact, k) & pool.readable(refiner)
        room = refiner.room()
        if waiting.any() and room:
            pool.settle(refiner, query, _best(pool, waiting, min(room, _BATCH)))
        elif room and _beyond(refiner, residuals, query, pool, k, count):
            count *= 4
            found = refiner.store.search(refiner.space, query, count, allowed=allowed)
            hits = Hits(found.row_ids, found.scores, found.index)
            pool = _pool(refiner, residuals, query, hits)
        else:
            break
    return _ordered(pool, max(k, depth), hits.index), _said(refiner, pool, k, waiting)


def refine_cutoff(
    refiner: Refiner, query: Query, cutoff: float, *, allowed: Ids | None = None
) -> tuple[Hits, Refined]:
    """Find every row whose exact score is at least `cutoff`, or as near as the budget allows."""
    hits = refiner.store.scores(refiner.space, query, allowed)
    if not len(hits.row_ids) or not (residuals := _needed(refiner, hits.row_ids)):
        kept = hits.scores >= cutoff
        return Hits(hits.row_ids[kept], hits.scores[kept], hits.index), Refined()
    pool = _pool(refiner, residuals, query, hits)
    while True:
        waiting = may_cross(pool.scores, pool.allowances, pool.exact, cutoff)
        waiting &= pool.readable(refiner)
        room = refiner.room()
        if not (waiting.any() and room):
            break
        pool.settle(refiner, query, _best(pool, waiting, min(room, _BATCH)))
    over = int((pool.scores >= cutoff).sum())
    left = ~pool.exact
    margins = np.abs(pool.scores - cutoff)[left]
    certain = _certainty(pool, left, margins)
    complete = not waiting.any() and not refiner.unreadable
    said = Refined(refiner.refined, refiner.seconds, complete, certain)
    return _ordered(pool, over, hits.index), said


def _needed(refiner: Refiner, row_ids: Ids) -> Residuals | None:
    """The space's audited rows, or None where all of these rows are exact."""
    rows = refiner.store.rows(refiner.space, np.unique(row_ids >> 32).tolist(), ["exact"])
    return None if _flags(rows).all() else refiner.residuals()


def _pool(refiner: Refiner, residuals: Residuals, query: Query, hits: Hits) -> _Pool:
    videos = np.unique(hits.row_ids >> 32).tolist()
    rows = refiner.store.rows(refiner.space, videos, ["row_id", "drift", "exact"])
    ids = rows.column("row_id").to_numpy()
    row_ids = hits.row_ids[np.isin(hits.row_ids, ids)]  # a video may have gone meanwhile
    order = np.argsort(ids)
    places = order[np.searchsorted(ids[order], row_ids)]
    exact = _flags(rows)[places]
    widths = residuals.widths(query, rows.column("drift").to_numpy()[places])
    scores = (refiner.store.vectors(refiner.space, row_ids) @ query).astype(np.float64)
    return _Pool(row_ids, scores, exact, widths, widths.allowances(refiner.confidence))


def _best(pool: _Pool, waiting: NDArray[np.bool_], count: int) -> NDArray[np.intp]:
    """The waiting rows that may score highest."""
    at = np.flatnonzero(waiting)
    order = np.argsort(-(pool.scores + pool.allowances)[at], kind="stable")
    return at[order[:count]]


def _beyond(
    refiner: Refiner, residuals: Residuals, query: Query, pool: _Pool, k: int, count: int
) -> bool:
    """Whether a row that was not looked at could still enter: none scores above the last one."""
    if len(pool.row_ids) < count:
        return False
    rows = refiner.store.rows(refiner.space, None, ["drift", "exact"])
    drifts = rows.column("drift").to_numpy()[~_flags(rows)]
    if not len(drifts):
        return False
    widest = residuals.widths(query, drifts).allowances(refiner.confidence).max()
    last = np.array([pool.scores[~pool.exact].min(initial=pool.scores.min())])
    scores, exact = np.append(pool.scores, last), np.append(pool.exact, False)
    return bool(may_enter(scores, np.append(pool.allowances, widest), exact, k)[-1])


def _ordered(pool: _Pool, count: int, index: str) -> Hits:
    order = np.lexsort((pool.row_ids, -pool.scores))[:count]
    return Hits(pool.row_ids[order], pool.scores[order].astype(np.float32), index)


def _said(refiner: Refiner, pool: _Pool, k: int, waiting: NDArray[np.bool_]) -> Refined:
    left = ~pool.exact
    threshold = np.sort(pool.scores)[-min(k, len(pool.scores))]
    certain = _certainty(pool, left, threshold - pool.scores[left])
    complete = not waiting.any() and not refiner.unreadable
    return Refined(refiner.refined, refiner.seconds, complete, certain)


def _certainty(pool: _Pool, left: NDArray[np.bool_], margins: NDArray[np.float64]) -> float:
    """Chance that no approximate row of the pool gains more than its margin."""
    widths = Widths(pool.widths.mean[left], pool.widths.deviation[left], pool.widths.freedom)
    return float(np.prod(1 - widths.chance_above(margins)))


def _flags(rows: pa.Table) -> NDArray[np.bool_]:
    return np.asarray(rows.column("exact").to_numpy(zero_copy_only=False), bool)
