"""A query's story: text → vector → search → frames → moments."""

from collections.abc import Sequence
from math import inf
from time import perf_counter
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError, unknown
from engine.operators.base import Context
from engine.operators.measure import subject_vector
from engine.operators.search import refiner_of
from engine.operators.work import Refined, Work
from engine.peaks import Peaks, Spot
from engine.results import Coverage as Coverage
from engine.results import GroupBy as GroupBy
from engine.results import Moment as Moment
from engine.results import QueryResult as QueryResult
from engine.selection import Selection, select_frames

_DEPTH = 8  # hits looked at first, per result asked for


def query(
    context: Context,
    subject: str | bytes | NDArray[np.float32],
    *,
    top_k: int = 10,
    videos: Sequence[int | str] | None = None,
    group_by: GroupBy = "moment",
    min_score: float | None = None,
    near_duplicate: float = 0.995,
) -> QueryResult:
    """Find what fits a text, an image or a unit vector, `top_k` of it wherever so much is left.

    `videos` are ids, names or globs. Adjacent hits are one moment; of moments that show the same
    picture the best is kept.
    """
    _check(subject, top_k, group_by, min_score)
    clock = [perf_counter()]
    vector = subject_vector(context, subject)
    clock.append(perf_counter())
    selection = select_frames(context, videos)
    clock.append(perf_counter())
    refiner = refiner_of(context) if selection.count else None
    depth, spots, index, dropped = _DEPTH * top_k, list[Spot](), "nothing to search", 0
    most = min(top_k, len(selection.names)) if group_by == "video" else top_k
    while selection.count:
        peaks = Peaks(
            *(context, vector, group_by),
            min_score=min_score,
            near_duplicate=near_duplicate,
            refiner=refiner,
        )
        hits = context.store.search(context.space, vector, depth, allowed=selection.allowed)
        spots, index, dropped = peaks.group(hits), hits.index, peaks.dropped
        bar = spots[most - 1].span.score if len(spots) >= most else -inf
        if len(hits.row_ids) == depth and (len(spots) < most or peaks.may_miss(hits, bar)):
            depth *= 4
        elif refiner is None or not refiner.settle(peaks.open_rows(bar)):
            break
    if refiner is not None and (refined := refiner.said()) != Refined():
        context.work.refined.append(refined)
    clock.append(perf_counter())
    names = selection.names
    return QueryResult(
        moments=[_moment(spot, names[spot.video_id]) for spot in spots[:top_k]],
        coverage=_coverage(selection, context.work),
        timing=dict(zip(("encode", "select", "search"), np.diff(clock).tolist(), strict=True)),
        plan=f"best {depth} frames by {index}, grouped by {group_by}, {dropped} duplicates",
    )


def _check(
    subject: str | bytes | NDArray[np.float32], top_k: int, group_by: str, min_score: float | None
) -> None:
    if group_by not in get_args(GroupBy):
        raise UsageError(unknown("group_by", group_by, get_args(GroupBy)))
    if top_k < 1:
        raise UsageError(f"top_k is {top_k}; allowed: 1 or more")
    if min_score is not None and not -1 <= min_score <= 1:
        raise UsageError(f"min_score is {min_score}; allowed: -1 to 1, as cosines are")
    if not isinstance(subject, np.ndarray) and not subject.strip():
        raise UsageError("the text to look for is empty")


def _moment(spot: Spot, name: str) -> Moment:
    span = spot.span
    return Moment(
        spot.video_id, name, span.start_seconds, span.stop_seconds, span.peak_seconds, span.score
    )


def _coverage(selection: Selection, work: Work) -> Coverage:
    return Coverage(
        videos=len(selection.names),
        frames=selection.count,
        embedded=sum(item.frames for item in work.embedded),
        refined=sum(item.rows for item in work.refined),
        complete=all(item.complete for item in work.embedded)
        and all(item.complete for item in work.refined),
    )
