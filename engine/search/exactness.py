"""Exact answers from approximate vectors: re-embed what could change the answer, and keep it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.search.error_bounds import ErrorSpread, Residuals
from engine.search.refiner import Ids, Query, Refiner, flags
from engine.search.stopping import may_cross, may_enter
from engine.search.work import Refined
from engine.storage.store import Hits


@dataclass(slots=True)
class _Candidates:
    """Candidate rows with what is known of them."""

    row_ids: Ids
    scores: NDArray[np.float64]
    exact: NDArray[np.bool_]
    spread: ErrorSpread
    bounds: NDArray[np.float64]

    def make_exact(self, refiner: Refiner, query: Query, picked: NDArray[np.intp]) -> None:
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
    error bound reaches the k-th best exact score.
    """
    count = max(4 * k, 64)
    hits = refiner.store.search(refiner.space, query, count, allowed=allowed)
    if not len(hits.row_ids) or not (residuals := _needed(refiner, hits.row_ids)):
        return Hits(hits.row_ids[:k], hits.scores[:k], hits.index), refiner.report()
    found = _candidates(refiner, residuals, query, hits)
    while True:
        waiting = may_enter(found.scores, found.bounds, found.exact, k) & found.readable(refiner)
        batch = refiner.batch_size()
        if waiting.any() and batch:
            found.make_exact(refiner, query, _best(found, waiting, batch))
        elif batch and _beyond(refiner, residuals, query, found, k, count):
            count *= 4
            hits = refiner.store.search(refiner.space, query, count, allowed=allowed)
            found = _candidates(refiner, residuals, query, hits)
        else:
            break
    return _ordered(found, k, hits.index), _report(refiner, found, k, waiting)


def refine_cutoff(
    refiner: Refiner, query: Query, cutoff: float, *, allowed: Ids | None = None
) -> tuple[Hits, Refined]:
    """Find every row whose exact score is at least `cutoff`, or as near as the budget allows."""
    hits = refiner.store.scores(refiner.space, query, allowed)
    if not len(hits.row_ids) or not (residuals := _needed(refiner, hits.row_ids)):
        kept = hits.scores >= cutoff
        return Hits(hits.row_ids[kept], hits.scores[kept], hits.index), refiner.report()
    found = _candidates(refiner, residuals, query, hits)
    while True:
        waiting = may_cross(found.scores, found.bounds, found.exact, cutoff)
        waiting &= found.readable(refiner)
        batch = refiner.batch_size()
        if not (waiting.any() and batch):
            break
        found.make_exact(refiner, query, _best(found, waiting, batch))
    over = int((found.scores >= cutoff).sum())
    left = ~found.exact
    margins = np.abs(found.scores - cutoff)[left]
    certain = _certainty(found, left, margins)
    complete = not waiting.any() and not refiner.unreadable
    report = Refined(refiner.refined, refiner.seconds, complete, certain)
    return _ordered(found, over, hits.index), report


def _needed(refiner: Refiner, row_ids: Ids) -> Residuals | None:
    """The space's audited rows, or None where all of these rows are exact."""
    rows = refiner.store.rows(refiner.space, np.unique(row_ids >> 32).tolist(), ["exact"])
    return None if flags(rows).all() else refiner.residuals()


def _candidates(refiner: Refiner, residuals: Residuals, query: Query, hits: Hits) -> _Candidates:
    videos = np.unique(hits.row_ids >> 32).tolist()
    stored = refiner.store.rows(refiner.space, videos, ["row_id"]).column("row_id").to_numpy()
    row_ids = hits.row_ids[np.isin(hits.row_ids, stored)]  # a video may have gone meanwhile
    drifts, exact = refiner.drifts_of(row_ids)
    spread = residuals.spread_of(query, drifts)
    scores = (refiner.store.vectors(refiner.space, row_ids) @ query).astype(np.float64)
    return _Candidates(row_ids, scores, exact, spread, spread.bounds(refiner.confidence))


def _best(found: _Candidates, waiting: NDArray[np.bool_], count: int) -> NDArray[np.intp]:
    """The waiting rows that may score highest."""
    at = np.flatnonzero(waiting)
    order = np.argsort(-(found.scores + found.bounds)[at], kind="stable")
    return at[order[:count]]


def _beyond(
    refiner: Refiner, residuals: Residuals, query: Query, found: _Candidates, k: int, count: int
) -> bool:
    """Whether a row that was not looked at could still enter: none scores above the last one."""
    if len(found.row_ids) < count:
        return False
    rows = refiner.store.rows(refiner.space, None, ["drift", "exact"])
    drifts = rows.column("drift").to_numpy()[~flags(rows)]
    if not len(drifts):
        return False
    widest = residuals.spread_of(query, drifts).bounds(refiner.confidence).max()
    last = np.array([found.scores[~found.exact].min(initial=found.scores.min())])
    scores, exact = np.append(found.scores, last), np.append(found.exact, False)
    return bool(may_enter(scores, np.append(found.bounds, widest), exact, k)[-1])


def _ordered(found: _Candidates, count: int, index: str) -> Hits:
    order = np.lexsort((found.row_ids, -found.scores))[:count]
    return Hits(found.row_ids[order], found.scores[order].astype(np.float32), index)


def _report(refiner: Refiner, found: _Candidates, k: int, waiting: NDArray[np.bool_]) -> Refined:
    left = ~found.exact
    threshold = np.sort(found.scores)[-min(k, len(found.scores))]
    certain = _certainty(found, left, threshold - found.scores[left])
    complete = not waiting.any() and not refiner.unreadable
    return Refined(refiner.refined, refiner.seconds, complete, certain)


def _certainty(found: _Candidates, left: NDArray[np.bool_], margins: NDArray[np.float64]) -> float:
    """Chance that no approximate candidate gains more than its margin."""
    widths = ErrorSpread(
        found.spread.mean[left], found.spread.deviation[left], found.spread.freedom
    )
    return float(np.prod(1 - widths.chance_above(margins)))
