"""What a query gives back, made of what was ranked."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.results import Coverage, Moment, QueryResult
from engine.search.clear import are_clear, frames_of
from engine.search.context import SearchContext
from engine.search.fusion import Fused, SpokenPart
from engine.search.grouping import VideoSpan
from engine.search.ranking import Ranking
from engine.search.scores import cosines
from engine.search.selection import Selection

MOST_LACKING: Final = 100  # videos that are named of those that give fewer rows than they should


def report(
    ranking: Ranking,
    fused: Sequence[Fused],
    subject: str | bytes | NDArray[np.float32],
    *,
    num_spoken: int,
) -> QueryResult:
    """Return the moments that are shown; how long it took is left to the caller."""
    context, names = ranking.context, ranking.selection.names
    spans = [ranking.spans[item.image] for item in fused if item.image is not None]
    clear = iter(are_clear(context, subject, spans))
    moments = []
    for item in fused:
        words = item.words
        if item.image is not None:
            span = ranking.spans[item.image]
            moments.append(moment_of_image(span, names[span.video_id], next(clear), words))
        elif words is not None:
            peak, score = best_frame(context, ranking.vector, words)
            moments.append(moment_of_words(words, names[words.video_id], peak, score))
    plan = f"best {ranking.depth} frames by {ranking.index}, grouped by {ranking.wanted.group_by},"
    plan += f" {ranking.num_duplicates} duplicates"
    plan += f", joined with {num_spoken} parts where the words are said" if num_spoken else ""
    covered = coverage_of(context, ranking.selection, edges_may_move=ranking.edges_may_move)
    return QueryResult(moments, covered, {}, plan, context.caution)


def report_words(
    context: SearchContext, spoken: Sequence[SpokenPart], names: Mapping[int, str] | None
) -> QueryResult:
    """Return moments that were found by words alone, in some videos or all: no model was asked."""
    catalog = context.store.catalog
    count = catalog.count_videos() if names is None else len(names)
    named = catalog.names_of([said.video_id for said in spoken]) if names is None else names
    moments = [
        moment_of_words(said, named[said.video_id], said.start_seconds, 0.0)
        for said in spoken
        if said.video_id in named  # it may have gone since the words were looked up
    ]
    plan = f"best parts by words among {context.words().num_lines} lines"
    return QueryResult(moments, Coverage(count, 0, 0, 0, complete=True), {}, plan)


def moment_of_image(
    item: VideoSpan, name: str, clear: bool | None, words: SpokenPart | None
) -> Moment:
    span = item.span
    found = (item.video_id, name, span.start_seconds, span.stop_seconds, span.peak_seconds)
    if words is None:
        return Moment(*found, span.score, clear)
    return Moment(*found, span.score, clear, ("image", "words"), words.line, words.score)


def moment_of_words(said: SpokenPart, name: str, peak_seconds: float, score: float) -> Moment:
    span = (said.start_seconds, said.stop_seconds, peak_seconds)
    return Moment(said.video_id, name, *span, score, None, ("words",), said.line, said.score)


def best_frame(
    context: SearchContext, vector: NDArray[np.float32], said: SpokenPart
) -> tuple[float, float]:
    """Return when a part of a video fits best, and how well; its start where no frame is stored."""
    ids = frames_of(context, said.video_id, said.start_seconds, said.stop_seconds)
    if not len(ids):
        return said.start_seconds, 0.0
    scores, frames = cosines(context, vector, ids), context.reading.view.frames
    best = int(scores.argmax())
    return float(frames.seconds[frames.places(ids[best : best + 1])][0]), float(scores[best])


def coverage_of(context: SearchContext, selection: Selection, *, edges_may_move: bool) -> Coverage:
    """Return what an answer about some videos rests on."""
    view, listed = context.reading.view, selection.listed
    work = context.work
    unread = {video: why for item in work.embedded for video, why in item.unread.items()}
    lacking = context.store.lacking(context.space, view, listed, MOST_LACKING, unread)
    return Coverage(
        videos=len(selection.names),
        frames=selection.count,
        embedded=sum(item.frames for item in work.embedded),
        refined=sum(item.rows for item in work.refined),
        complete=all(item.complete for item in work.embedded)
        and all(item.complete for item in work.refined)
        and not lacking.count,
        lacking=[f"{item.name}: {item.reason}" for item in lacking.first],
        num_lacking=lacking.count,
        edges_may_move=edges_may_move,
        approximate=work.approximate,
        coarse_seconds=work.coarse_seconds,
    )
