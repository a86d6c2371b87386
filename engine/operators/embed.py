"""Frames with their embeddings: from the store, or made now."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from engine.operators.base import Context, Operator, read_table
from engine.operators.frame_rows import FrameRows, batches_of
from engine.search.missing import embed_gops
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
        return batches_of(self, context)

    @property
    def gives_frames(self) -> bool:
        """Always."""
        return True

    def frame_rows(self, context: Context) -> FrameRows:
        """Embed what is missing, then say where the rows of the videos lie."""
        gops = read_table(self.source, context)
        embed_gops(context, gops)
        frames = context.reading.view.frames
        rows = FrameRows(frames, frames.of_videos(gops.column("video_id").unique().to_numpy()))
        fresh = sum(item.frames for item in context.work.embedded)
        context.work.stored_frames += max(0, len(rows) - fresh)
        return rows
