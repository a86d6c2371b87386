"""What several rankings find, joined on time and ranked together: pictures, words, spaces."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.search.grouping import VideoSpan
from engine.search.words import WordCounts, Words

HELD: Final = 0.5  # of what the sought words weigh together a line holds at least so much
SPOKEN_DEPTH: Final = 4  # moments of words that are looked at, per result asked for
_RANK: Final = 60  # reciprocal rank fusion's constant


@dataclass(frozen=True, slots=True)
class SpokenPart:
    """A part of a video in which sought words are said."""

    video_id: int
    start_seconds: float
    stop_seconds: float
    line: str
    score: float  # BM25


@dataclass(frozen=True, slots=True)
class Extent:
    """A part of a video, `[start_seconds, stop_seconds)`, that a ranking holds."""

    video_id: int
    start_seconds: float
    stop_seconds: float


@dataclass(frozen=True, slots=True)
class Fused:
    """A moment, by its picture, its words, or both; `image` is its place among the spans."""

    image: int | None
    words: SpokenPart | None
    score: float


def spoken_moments(
    words: Words,
    text: str,
    videos: Collection[int] | None,
    count: int,
    *,
    by_video: bool,
    counts: WordCounts | None = None,
) -> list[SpokenPart]:
    """Return where the words of a text are said, best first, at most so many.

    A line counts that holds half of what the words weigh. Of lines that are said at once, by
    several sources or in several languages, the best is kept; `by_video` the best of each video.
    `counts` are of all stores that are asked together, where there are more.
    """
    hits = words.search(text, counts)
    kept: list[SpokenPart] = []
    of_video: dict[int, list[SpokenPart]] = {}
    for at in np.flatnonzero(hits.shares >= HELD).tolist():
        source, line = words.sources[int(hits.sources[at])], int(hits.lines[at])
        video = source.part.video_id
        start, stop = float(source.starts[line]), float(source.stops[line])
        others = of_video.setdefault(video, [])
        if videos is not None and video not in videos:
            continue
        if any(by_video or _overlap(other, start, stop) for other in others):
            continue
        said = str(source.lines.column("text")[line])
        others.append(SpokenPart(video, start, stop, said, float(hits.scores[at])))
        kept.append(others[-1])
        if len(kept) == SPOKEN_DEPTH * count:
            break
    return kept


def fuse(
    spans: Sequence[VideoSpan], spoken: Sequence[SpokenPart], count: int, *, by_video: bool
) -> list[Fused]:
    """Rank spans and words together: each counts by its place in its own ranking.

    Words that are said during a span, or with `by_video` anywhere in its video, are one with it.
    """
    shown = [
        Extent(item.video_id, item.span.start_seconds, item.span.stop_seconds) for item in spans
    ]
    said = [Extent(each.video_id, each.start_seconds, each.stop_seconds) for each in spoken]
    return [
        Fused(image, None if words is None else spoken[words], score)
        for (image, words), score in join([shown, said], by_video=by_video)[:count]
    ]


def join(
    rankings: Sequence[Sequence[Extent]], *, by_video: bool
) -> list[tuple[tuple[int | None, ...], float]]:
    """Join several rankings on time: what each found at a place, best first, and its score.

    What is found during something that an earlier ranking has, or with `by_video` anywhere in its
    video, is one with it; of several such things of a ranking its best.
    """
    heads: list[Extent] = []
    places: list[list[int | None]] = []
    for number, ranking in enumerate(rankings):
        alone: list[tuple[Extent, int]] = []
        for rank, extent in enumerate(ranking):
            at = _first(heads, extent, by_video=by_video) if number else None
            if at is None:
                alone.append((extent, rank))
            elif places[at][number] is None:
                places[at][number] = rank
        for extent, rank in alone:
            heads.append(extent)
            places.append([rank if each == number else None for each in range(len(rankings))])
    scored = [
        (tuple(found), sum(_share(rank) for rank in found if rank is not None)) for found in places
    ]
    return sorted(scored, key=lambda item: (-item[1], item[0][0] is None))


def _first(heads: Sequence[Extent], extent: Extent, *, by_video: bool) -> int | None:
    return next(
        (
            at
            for at, head in enumerate(heads)
            if head.video_id == extent.video_id
            and (by_video or _overlap(extent, head.start_seconds, head.stop_seconds))
        ),
        None,
    )


def _share(rank: int) -> float:
    return 1 / (_RANK + 1 + rank)


def _overlap(said: "SpokenPart | Extent", start: float, stop: float) -> bool:
    return said.start_seconds < stop and start < said.stop_seconds
