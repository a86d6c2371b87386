"""A query's story: text → vector → frames → deepen until settled → report."""

from collections.abc import Sequence
from time import perf_counter
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError, unknown
from engine.results import Coverage as Coverage
from engine.results import GroupBy as GroupBy
from engine.results import Moment as Moment
from engine.results import QueryResult as QueryResult
from engine.search.clear import are_clear
from engine.search.context import SearchContext
from engine.search.deepen import deepen
from engine.search.grouping import VideoSpan
from engine.search.ranking import Ranking, Wanted
from engine.search.scores import subject_vector
from engine.search.selection import select_frames


def query(
    context: SearchContext,
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
    if deepen(context, vector, list(selection.names), top_k):
        selection = select_frames(context, videos)
    clock.append(perf_counter())
    wanted = Wanted(top_k, group_by, min_score, near_duplicate)
    ranking = Ranking(context, vector, selection, wanted)
    while not ranking.settled:
        ranking.deepen()
    clear = are_clear(context, subject, ranking.spans[:top_k])
    clock.append(perf_counter())
    return _report(ranking, clear, np.diff(clock).tolist())


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


def _report(ranking: Ranking, clear: list[bool | None], seconds: list[float]) -> QueryResult:
    selection, wanted = ranking.selection, ranking.wanted
    return QueryResult(
        moments=[
            _moment(item, selection.names[item.video_id], sure)
            for item, sure in zip(ranking.spans, clear, strict=False)
        ],
        coverage=_coverage(ranking),
        timing=dict(zip(("encode", "select", "search"), seconds, strict=True)),
        plan=f"best {ranking.depth} frames by {ranking.index}, grouped by {wanted.group_by},"
        f" {ranking.num_duplicates} duplicates",
        caution=ranking.context.caution,
    )


def _moment(item: VideoSpan, name: str, clear: bool | None) -> Moment:
    span = item.span
    return Moment(
        item.video_id,
        name,
        span.start_seconds,
        span.stop_seconds,
        span.peak_seconds,
        span.score,
        clear,
    )


def _coverage(ranking: Ranking) -> Coverage:
    selection, context = ranking.selection, ranking.context
    work, lacking = context.work, context.store.lacking(context.space, list(selection.names))
    return Coverage(
        videos=len(selection.names),
        frames=selection.count,
        embedded=sum(item.frames for item in work.embedded),
        refined=sum(item.rows for item in work.refined),
        complete=all(item.complete for item in work.embedded)
        and all(item.complete for item in work.refined)
        and not lacking,
        lacking=[f"{item.name}: {item.reason}" for item in lacking],
        edges_may_move=ranking.edges_may_move,
        approximate=work.approximate,
        coarse_seconds=work.coarse_seconds,
    )
