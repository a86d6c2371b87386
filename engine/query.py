"""A query's story: text → vector → frames → deepen until settled → join what is said → report."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from time import perf_counter
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError, check_text, unknown
from engine.results import Coverage as Coverage
from engine.results import GroupBy as GroupBy
from engine.results import Moment as Moment
from engine.results import QueryResult as QueryResult
from engine.results import Signal as Signal
from engine.search.context import SearchContext
from engine.search.deepen import deepen
from engine.search.fusion import SpokenPart, fuse, spoken_moments
from engine.search.ranking import Ranking, Wanted
from engine.search.report import report, report_words
from engine.search.scores import subject_vector
from engine.search.selection import select_frames, select_names


def query(
    context: SearchContext,
    subject: str | bytes | NDArray[np.float32],
    *,
    top_k: int = 10,
    videos: Sequence[int | str] | NDArray[np.int64] | None = None,
    group_by: GroupBy = "moment",
    min_score: float | None = None,
    near_duplicate: float = 0.995,
    signals: Sequence[Signal] | None = None,
) -> QueryResult:
    """Find what fits a text, an image or a unit vector, `top_k` of it wherever so much is left.

    `videos` are ids, names or globs. Adjacent hits are one moment; of moments that show the same
    picture the best is kept. A text is looked for in pictures and in what is said, where there
    are transcripts, or as `signals` say; both rankings are joined on time, by rank.
    """
    check_query(subject, top_k, group_by, min_score)
    by_image, by_words = read_signals(signals, subject, group_by)
    clock = [perf_counter()]
    if not by_image and isinstance(subject, str):
        names = None if videos is None else select_names(context.store, videos)
        spoken = _spoken(context, subject, names, top_k, group_by)[:top_k]
        found = report_words(context, spoken, names)
        return replace(found, timing={"search": perf_counter() - clock[0]})
    vector = subject_vector(context, subject)
    clock.append(perf_counter())
    selection = select_frames(context, videos)
    if deepen(context, vector, selection.listed, top_k):
        selection = select_frames(context, videos)
    clock.append(perf_counter())
    wanted = Wanted(top_k, group_by, min_score, near_duplicate)
    ranking = Ranking(context, vector, selection, wanted)
    while not ranking.settled:
        ranking.deepen()
    spoken = []
    if by_words and isinstance(subject, str):
        spoken = _spoken(context, subject, selection.names, top_k, group_by)
    fused = fuse(ranking.spans, spoken, top_k, by_video=group_by == "video")
    found = report(ranking, fused, subject, num_spoken=len(spoken))
    clock.append(perf_counter())
    seconds = np.diff(clock).tolist()
    return replace(found, timing=dict(zip(("encode", "select", "search"), seconds, strict=True)))


def _spoken(
    context: SearchContext,
    text: str,
    videos: Collection[int] | None,
    top_k: int,
    group_by: GroupBy,
) -> list[SpokenPart]:
    """Return where the words of a text are said in some videos or in all."""
    by_video = group_by == "video"
    return spoken_moments(context.words(), text, videos, top_k, by_video=by_video)


def read_signals(
    signals: Sequence[Signal] | None, subject: str | bytes | NDArray[np.float32], group_by: str
) -> tuple[bool, bool]:
    """Return whether pictures are looked at, and whether words are."""
    can_say = isinstance(subject, str) and group_by != "frame"
    if signals is None:
        return True, can_say
    for signal in signals:
        if signal not in get_args(Signal):
            raise UsageError(unknown("signal", signal, get_args(Signal)))
    if not signals:
        raise UsageError(f"no signal is given; allowed: {', '.join(get_args(Signal))}")
    if "words" in signals and not can_say:
        given = f"group_by {group_by}" if isinstance(subject, str) else "a picture or a mix"
        raise UsageError(f"words are said in moments and videos, and sought by a text; got {given}")
    return "image" in signals, "words" in signals


def check_query(
    subject: str | bytes | NDArray[np.float32], top_k: int, group_by: str, min_score: float | None
) -> None:
    """Raise UsageError where a query asks for what there is not."""
    if group_by not in get_args(GroupBy):
        raise UsageError(unknown("group_by", group_by, get_args(GroupBy)))
    if top_k < 1:
        raise UsageError(f"top_k is {top_k}; allowed: 1 or more")
    if min_score is not None and not -1 <= min_score <= 1:
        raise UsageError(f"min_score is {min_score}; allowed: -1 to 1, as cosines are")
    if isinstance(subject, str):
        check_text(subject, "the text to look for")
    elif isinstance(subject, bytes) and not subject.strip():
        raise UsageError("the picture to look for is empty")
