"""Which parts of videos have no embeddings yet."""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from engine.search.context import Range, SearchContext


def embed_videos(context: SearchContext, videos: Iterable[int]) -> None:
    """Embed what is missing of these videos, whole videos at a time."""
    done = context.store.settled(context.space)
    listed = [video_id for video_id in videos if video_id not in done]
    gops = [(video_id, gop) for video_id in listed for gop in context.store.catalog.gops(video_id)]
    table = pa.table(
        {
            "video_id": pa.array([video_id for video_id, _ in gops], pa.int64()),
            "start_seconds": pa.array([gop.start_seconds for _, gop in gops], pa.float64()),
            "stop_seconds": pa.array([gop.stop_seconds for _, gop in gops], pa.float64()),
        }
    )
    missing = find_missing(context, table, listed)
    if missing:
        context.embed_missing(missing)


def find_missing(context: SearchContext, gops: pa.Table, videos: Sequence[int]) -> list[Range]:
    """The GOPs that no committed stretch of the space covers, adjacent ones as one range."""
    done = context.store.settled(context.space)
    missing: list[Range] = []
    ids = gops.column("video_id").to_numpy()
    starts, stops = (gops.column(name).to_numpy() for name in ("start_seconds", "stop_seconds"))
    for video_id in videos:
        if video_id in done:
            continue
        own = ids == video_id
        stretches = context.store.catalog.stretches(video_id, context.space)
        covered = np.zeros(int(own.sum()), bool)
        for stretch in stretches:
            covered |= (starts[own] >= stretch.start_seconds - 1e-6) & (
                stops[own] <= stretch.stop_seconds + 1e-6
            )
        missing += _ranges(video_id, starts[own][~covered], stops[own][~covered])
    return missing


def _ranges(video_id: int, starts: np.ndarray, stops: np.ndarray) -> list[Range]:
    ranges: list[Range] = []
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        if ranges and start <= ranges[-1].stop_seconds + 1e-6:
            ranges[-1] = Range(video_id, ranges[-1].start_seconds, stop)
        else:
            ranges.append(Range(video_id, start, stop))
    return ranges
