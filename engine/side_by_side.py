"""One question to several spaces: their moments, joined on time by rank."""

from collections.abc import Mapping
from dataclasses import replace

from engine.errors import NotFoundError, unknown
from engine.results import Coverage, QueryResult
from engine.search.fusion import Extent, join
from engine.storage.records import StoredSpace
from engine.storage.store import Store

DEEPER = 4  # moments that each space is asked for, per moment wanted


def find_space(store: Store, named: str) -> StoredSpace:
    """Return the space with that key, or the newest that a model of that name gave."""
    spaces = store.catalog.spaces()
    found = [space for space in spaces if named in (space.key, space.model)]
    if not found:
        known = [name for space in spaces for name in (space.key, space.model)]
        raise NotFoundError(unknown("space or model that something is embedded by", named, known))
    return found[-1]


def merge(found: Mapping[str, QueryResult], top_k: int, *, by_video: bool) -> QueryResult:
    """Join what spaces found, by their keys; a moment is told as the space that ranks it best.

    Scores of two spaces are not of one kind, so places in the rankings alone decide.
    """
    keys, results = list(found), list(found.values())
    extents = [
        [Extent(each.video_id, each.start_seconds, each.stop_seconds) for each in result.moments]
        for result in results
    ]
    moments = []
    for places, _ in join(extents, by_video=by_video)[:top_k]:
        held = [(rank, at) for at, rank in enumerate(places) if rank is not None]
        rank, best = min(held)
        spaces = tuple(keys[at] for _, at in sorted(held, key=lambda each: each[1]))
        moments.append(replace(results[best].moments[rank], spaces=spaces))
    plans = "; ".join(f"{key}: {result.plan}" for key, result in found.items())
    return QueryResult(
        moments,
        _together([result.coverage for result in results]),
        {stage: sum(each.timing.get(stage, 0) for each in results) for stage in results[0].timing},
        f"joined on time by rank; {plans}",
        next((result.caution for result in results if result.caution), None),
    )


def _together(covered: list[Coverage]) -> Coverage:
    first = covered[0]
    return replace(
        first,
        frames=sum(each.frames for each in covered),
        embedded=sum(each.embedded for each in covered),
        refined=sum(each.refined for each in covered),
        complete=all(each.complete for each in covered),
        approximate=any(each.approximate for each in covered),
        edges_may_move=any(each.edges_may_move for each in covered),
        coarse_seconds=max(each.coarse_seconds for each in covered),
        lacking=list(dict.fromkeys(name for each in covered for name in each.lacking)),
        num_lacking=max(each.num_lacking for each in covered),
    )
