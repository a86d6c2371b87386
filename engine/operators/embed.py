"""Frames with their embeddings: from the store, or made now."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from engine.operators.base import Context, Operator, Range, read_table
from schemas.tables import FRAMES


@dataclass(frozen=True, slots=True)
class Embed:
    """The stored frames of the source's videos, once its GOPs that lack embeddings have them."""

    source: Operator

    @property
    def schema(self) -> pa.Schema:
        """The columns of `frames`."""
        return FRAMES

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Embed what is missing, then read the rows of the videos."""
        videos = self.prepare(context)
        rows = context.store.rows(context.space, videos, FRAMES.names)
        fresh = sum(item.frames for item in context.work.embedded)
        context.work.stored_frames += max(0, rows.num_rows - fresh)
        yield from rows.select(FRAMES.names).cast(FRAMES).to_batches(context.batch_rows)

    def prepare(self, context: Context) -> list[int]:
        """Embed what is missing; return the ids of the source's videos."""
        gops = read_table(self.source, context)
        videos = [int(value) for value in gops.column("video_id").unique().to_pylist()]
        missing = find_missing(context, gops, videos)
        if missing:
            context.embed_missing(missing)
        return videos


def find_missing(context: Context, gops: pa.Table, videos: list[int]) -> list[Range]:
    """The GOPs that no committed stretch of the space covers, adjacent ones as one range."""
    done = _finished(context)
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


def _finished(context: Context) -> set[int]:
    """The videos that cannot or need not be embedded: quarantined, or all stretches stored."""
    space_id = context.store.catalog.space(context.space).space_id
    with context.store.catalog.connection() as cursor:
        rows = cursor.execute(
            "SELECT video_id FROM segments WHERE space_id = ? AND shown AND finished_at IS NOT NULL"
            " UNION SELECT video_id FROM videos WHERE status = 'quarantined'",
            [space_id],
        ).fetchall()
    return {int(row[0]) for row in rows}


def _ranges(video_id: int, starts: np.ndarray, stops: np.ndarray) -> list[Range]:
    ranges: list[Range] = []
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        if ranges and start <= ranges[-1].stop_seconds + 1e-6:
            ranges[-1] = Range(video_id, ranges[-1].start_seconds, stop)
        else:
            ranges.append(Range(video_id, start, stop))
    return ranges
