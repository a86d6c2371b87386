"""Exact answers from approximate vectors: re-embed what could change the answer, and keep it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.operators.allowance import Residuals, Widths
from engine.operators.refiner import Ids, Query, Refiner, flags
from engine.operators.stop import may_cross, may_enter
from engine.operators.work import Refined
from engine.storage.store import Hits


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
    refiner: Refiner, query: Query, k: int, *, allowed: Ids | None = None
) -> tuple[Hits, Refined]:
    """Find the `k` best rows by exact score, or as near as the budget allows.

    Candidates are made exact, the most promising first, until no approximate row's score plus its
    allowance reaches the k-th best exact score.
    """
    count = max(4 * k, 64)
    hits = refiner.store.search(refiner.space, query, count, allowed=allowed)
    if not len(hits.row_ids) or not (residuals := _needed(refiner, hits.row_ids)):
        return Hits(hits.row_ids[:k], hits.scores[:k], hits.index), refiner.said()
    pool = _pool(refiner, residuals, query, hits)
    while True:
        waiting = may_enter(pool.scores, pool.allowances, pool.exact, k) & pool.readable(refiner)
        room = refiner.room()
        if waiting.any() and room:
            pool.settle(refiner, query, _best(pool, waiting, room))
        elif room and _beyond(refiner, residuals, query, pool, k, count):
            count *= 4
            found = refiner.store.search(refiner.space, query, count, allowed=allowed)
            hits = Hits(found.row_ids, found.scores, found.index)
            pool = _pool(refiner, residuals, query, hits)
        else:
            break
    return _ordered(pool, k, hits.index), _said(refiner, pool, k, waiting)


def refine_cutoff(
    refiner: Refiner, query: Query, cutoff: float, *, allowed: Ids | None = None
) -> tuple[Hits, Refined]:
    """Find every row whose exact score is at least `cutoff`, or as near as the budget allows."""
    hits = refiner.store.scores(refiner.space, query, allowed)
    if not len(hits.row_ids) or not (residuals := _needed(refiner, hits.row_ids)):
        kept = hits.scores >= cutoff
        return Hits(hits.row_ids[kept], hits.scores[kept], hits.index), refiner.said()
    pool = _pool(refiner, residuals, query, hits)
    while True:
        waiting = may_cross(pool.scores, pool.allowances, pool.exact, cutoff)
        waiting &= pool.readable(refiner)
        room = refiner.room()
        if not (waiting.any() and room):
            break
        pool.settle(refiner, query, _best(pool, waiting, room))
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
    return None if flags(rows).all() else refiner.residuals()


def _pool(refiner: Refiner, residuals: Residuals, query: Query, hits: Hits) -> _Pool:
    videos = np.unique(hits.row_ids >> 32).tolist()
    stored = refiner.store.rows(refiner.space, videos, ["row_id"]).column("row_id").to_numpy()
    row_ids = hits.row_ids[np.isin(hits.row_ids, stored)]  # a video may have gone meanwhile
    drifts, exact = refiner.known(row_ids)
    widths = residuals.widths(query, drifts)
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
    drifts = rows.column("drift").to_numpy()[~flags(rows)]
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
