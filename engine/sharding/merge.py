"""What shards found, merged as one store ranks its own."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.search.fusion import SPOKEN_DEPTH, SpokenPart
from engine.search.grouping import VideoSpan
from engine.search.moments import Span, distinct
from engine.sharding.shards import Shard
from engine.sharding.wire import unpacked
from schemas.query import QueryRequest
from schemas.shard import FoundOut, SpokenOut


@dataclass(frozen=True, slots=True)
class Merged:
    """What all shards found so deep, as one store would rank it."""

    spans: list[VideoSpan]
    spoken: list[SpokenPart]
    depth: int
    num_duplicates: int
    reached_all: bool  # whether no shard has a row that was not looked at
    open_bounds: list[float]  # of each shard that has: what such a row could score at most
    snapshots: dict[Shard, str]

    def may_miss(self, short: bool, bar: float) -> bool:
        """Whether a row that was not looked at could still be among the best."""
        if self.reached_all:
            return False
        return short or any(bound >= bar for bound in self.open_bounds)


def merge(
    found: Mapping[Shard, FoundOut], depth: int, body: QueryRequest, near_duplicate: float
) -> Merged:
    """Merge what shards found: the best rows of all, and of the spans those that these give."""
    best = sorted(
        (-score, shard.place, row)
        for shard, each in found.items()
        for row, score in zip(each.rows, each.scores, strict=True)
    )
    known = {(place, row) for _, place, row in best[:depth]}
    ranked: list[tuple[float, int, int, VideoSpan, NDArray[np.float32]]] = []
    for shard, each in found.items():
        vectors = vectors_of(each.vectors, len(each.spans))
        for item, vector in zip(each.spans, vectors, strict=True):
            if (shard.place, item.row) not in known:
                continue
            times = item.start_seconds, item.stop_seconds, item.peak_seconds
            span = VideoSpan(shard.id_of(item.video_id), Span(*times, item.score, 0), item.row)
            ranked.append((-item.score, shard.place, item.row, span, vector))
    ranked.sort(key=lambda item: item[:3])
    spans = [item[3] for item in ranked]
    if body.group_by != "video" and ranked:
        shown = np.stack([item[4] for item in ranked]).astype(np.float64)
        spans = [spans[at] for at in distinct(shown, near_duplicate)]
    open_shards = [each for each in found.values() if len(each.rows) == depth]
    bounds = [each.scores[-1] + each.largest_error for each in open_shards if each.largest_error]
    spoken = sorted(
        (
            (-said.score, shard.place, at, _spoken(shard, said))
            for shard, each in found.items()
            for at, said in enumerate(each.spoken)
        ),
        key=lambda item: item[:3],
    )
    return Merged(
        spans,
        [item[3] for item in spoken][: SPOKEN_DEPTH * body.top_k],
        depth,
        len(ranked) - len(spans),
        len(best) < depth,
        bounds,
        {shard: each.snapshot for shard, each in found.items()},
    )


def _spoken(shard: Shard, said: SpokenOut) -> SpokenPart:
    times = said.start_seconds, said.stop_seconds
    return SpokenPart(shard.id_of(said.video_id), *times, said.line, said.score)


def vectors_of(text: str, count: int) -> NDArray[np.float32]:
    """Read so many vectors as the store keeps them, of whatever length."""
    numbers = unpacked(text, 1, "<f2").reshape(-1)
    return numbers.reshape(count, -1) if count else numbers.reshape(0, 0)
