"""Frames with their embeddings: from the store, or made now."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from engine.operators.base import Context, Operator, read_table
from engine.search.missing import find_missing
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
