"""Exact answers from approximate vectors: re-embed what could change the answer, and keep it."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.search.error_bounds import ErrorSpread, Residuals
from engine.search.ordered import best_in_order
from engine.search.refiner import Ids, Query, Refiner
from engine.search.stopping import may_cross, may_enter
from engine.search.work import Refined
from engine.storage import row_id
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
        lost = np.isin(row_id.videos_of(self.row_ids[picked]), list(refiner.unreadable))
        done = picked[~lost]
        if len(done):
            self.scores[done] = refiner.reading.rows.vectors(self.row_ids[done]) @ query
        self.exact[done] = True

    def readable(self, refiner: Refiner) -> NDArray[np.bool_]:
        return ~np.isin(row_id.videos_of(self.row_ids), list(refiner.unreadable))


def refine_top_k(
    refiner: Refiner, query: Query, k: int, *, places: Ids | None = None, exact: bool = False
) -> tuple[Hits, Refined]:
    """Find the `k` best rows (of those at places) by exact score, or as near as the budget allows.

    Candidates are made exact, the most promising first, until no approximate row's score plus its
    error bound reaches the k-th best exact score. `exact`: they come from a scan of all rows.
    """
    if not (residuals := _needed(refiner, places)):
        hits = best_in_order(refiner.reading.rows, query, k, places, exact=exact)
        return hits, refiner.report()
    count = max(4 * k, 64)
    hits = refiner.reading.rows.search(query, count, places, exact=exact)
    found = _candidates(refiner, residuals, query, hits.row_ids, hits.scores)
    while True:
        waiting = may_enter(found.scores, found.bounds, found.exact, k) & found.readable(refiner)
        batch = refiner.batch_size()
        if waiting.any() and batch:
            found.make_exact(refiner, query, _best(found, waiting, batch))
        elif batch and _beyond(refiner, query, found, k, count):
            count *= 4
            hits = refiner.reading.rows.search(query, count, places, exact=exact)
            found = _candidates(refiner, residuals, query, hits.row_ids, hits.scores)
        else:
            break
    ranked = _ordered(found, k)
    return replace(hits, row_ids=ranked[0], scores=ranked[1]), _report(refiner, found, k, waiting)


def refine_cutoff(
    refiner: Refiner, query: Query, cutoff: float, *, places: Ids | None = None
) -> tuple[Hits, Refined]:
    """Find every row whose exact score is at least `cutoff`, or as near as the budget allows."""
    reading = refiner.reading
    if not (residuals := _needed(refiner, places)):
        over, scores = reading.rows.within(query, cutoff, places=places)
        row_ids = reading.view.frames.row_ids[over]
        order = np.lexsort((row_ids, -scores))
        return Hits(row_ids[order], scores[order], "exact scan"), refiner.report()
    row_ids = reading.view.frames.row_ids if places is None else reading.view.frames.row_ids[places]
    found = _candidates(refiner, residuals, query, row_ids, reading.rows.scores(query, places))
    while True:
        waiting = may_cross(found.scores, found.bounds, found.exact, cutoff)
        waiting &= found.readable(refiner)
        batch = refiner.batch_size()
        if not (waiting.any() and batch):
            break
        found.make_exact(refiner, query, _best(found, waiting, batch))
    over_count = int((found.scores >= cutoff).sum())
    left = ~found.exact
    certain = _certainty(found, left, np.abs(found.scores - cutoff)[left])
    complete = not waiting.any() and not refiner.unreadable
    ended = bool(waiting.any())
    report = Refined(refiner.refined, refiner.seconds, complete, certain, ended)
    return Hits(*_ordered(found, over_count), "exact scan"), report


def _needed(refiner: Refiner, places: Ids | None) -> Residuals | None:
    """The space's audited rows, or None where all of these rows are exact."""
    frames = refiner.reading.view.frames
    exact = frames.all_exact if places is None else bool(frames.exact[places].all())
    return None if exact else refiner.residuals()


def _candidates(
    refiner: Refiner,
    residuals: Residuals,
    query: Query,
    row_ids: Ids,
    scores: NDArray[np.float32],
) -> _Candidates:
    drifts, exact = refiner.drifts_of(row_ids)
    spread = residuals.spread_of(query, drifts)
    bounds = spread.bounds(refiner.confidence)
    return _Candidates(row_ids, scores.astype(np.float64), exact, spread, bounds)


def _best(found: _Candidates, waiting: NDArray[np.bool_], count: int) -> NDArray[np.intp]:
    """The waiting rows that may score highest."""
    at = np.flatnonzero(waiting)
    order = np.argsort(-(found.scores + found.bounds)[at], kind="stable")
    return at[order[:count]]


def _beyond(refiner: Refiner, query: Query, found: _Candidates, k: int, count: int) -> bool:
    """Whether a row that was not looked at could still enter: none scores above the last one."""
    if len(found.row_ids) < count or refiner.reading.view.frames.all_exact:
        return False
    largest = refiner.largest_error(query)
    last = np.array([found.scores[~found.exact].min(initial=found.scores.min())])
    scores, exact = np.append(found.scores, last), np.append(found.exact, False)
    return bool(may_enter(scores, np.append(found.bounds, largest), exact, k)[-1])


def _ordered(found: _Candidates, count: int) -> tuple[Ids, NDArray[np.float32]]:
    order = np.lexsort((found.row_ids, -found.scores))[:count]
    return found.row_ids[order], found.scores[order].astype(np.float32)


def _report(refiner: Refiner, found: _Candidates, k: int, waiting: NDArray[np.bool_]) -> Refined:
    left = ~found.exact
    threshold = np.sort(found.scores)[-min(k, len(found.scores))]
    certain = _certainty(found, left, threshold - found.scores[left])
    complete = not waiting.any() and not refiner.unreadable
    return Refined(refiner.refined, refiner.seconds, complete, certain, bool(waiting.any()))


def _certainty(found: _Candidates, left: NDArray[np.bool_], margins: NDArray[np.float64]) -> float:
    """Chance that no approximate candidate gains more than its margin."""
    widths = ErrorSpread(
        found.spread.mean[left], found.spread.deviation[left], found.spread.freedom
    )
    return float(np.prod(1 - widths.chance_above(margins)))
