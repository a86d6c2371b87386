"""Frames with their embeddings: from the store, or made now."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.operators.base import Context, Operator, read_table
from engine.operators.filter import Filter
from engine.operators.frame_rows import FrameRows, Stored, batches_of
from engine.operators.scan import Scan
from engine.search.missing import embed_gops
from schemas.tables import FRAMES


@dataclass(frozen=True, slots=True)
class Embed:
    """The stored frames of the source's videos, once its GOPs that lack embeddings have them.

    With a `count` GOPs are embedded only until there are so many frames of which the predicates
    hold.
    """

    source: Operator
    count: int | None = None
    predicates: Sequence[str] = ()

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
        videos = self._embedded(context)
        frames = context.reading.view.frames
        rows = FrameRows(frames, frames.of_videos(videos))
        fresh = sum(item.frames for item in context.work.embedded)
        context.work.stored_frames += max(0, len(rows) - fresh)
        return rows

    def _embedded(self, context: Context) -> NDArray[np.int64]:
        """Embed what is missing; return the videos whose GOPs the source has."""
        view = context.reading.view
        if isinstance(self.source, Scan) and not view.has_unsettled:
            return view.remembered(self.source, lambda: _videos(read_table(self.source, context)))
        gops = read_table(self.source, context)
        if self.count is None:
            embed_gops(context, gops)
        else:
            self._embed_first(context, gops, self.count)
        return _videos(gops)

    def _embed_first(self, context: Context, gops: pa.Table, count: int) -> None:
        """Embed the first GOPs until the videos have so many frames, after each look twice as many.

        How many of them are of use is only known once they are there.
        """
        videos = _videos(gops)
        lasts = np.cumsum(
            gops.column("stop_seconds").to_numpy() - gops.column("start_seconds").to_numpy()
        )
        done, ahead = 0, 1
        while done < len(gops):
            frames = context.reading.view.frames
            stored = Stored(FrameRows(frames, frames.of_videos(videos)), FRAMES)
            wanted = count - len(Filter(stored, self.predicates).frame_rows(context))
            if wanted <= 0:
                return
            begun = lasts[done - 1] if done else 0.0
            seconds = ahead * wanted / (context.options.fps or 1.0) + begun
            stop = max(done + ahead, int(np.searchsorted(lasts, seconds - 1e-6)) + 1)
            embed_gops(context, gops.slice(done, stop - done))
            done, ahead = stop, ahead * 2 if self.predicates else 1


def _videos(gops: pa.Table) -> NDArray[np.int64]:
    found: NDArray[np.int64] = gops.column("video_id").unique().to_numpy()
    return found
