"""Frames that look alike, by the index."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from engine.cage.ending import check_awaited
from engine.operators.base import Context, Operator
from engine.operators.frame_rows import FrameRows, frames_given
from engine.search.nearest import settle_scores
from engine.storage import row_id
from engine.storage.snapshot import Hits, SearchScope
from schemas.tables import NEAREST


@dataclass(frozen=True, slots=True)
class NearFrames:
    """Of each frame of the source the `count` frames of the other that look most like it.

    A frame is not near itself; `apart`: nor are those of its video.
    """

    source: Operator
    other: Operator
    count: int
    apart: bool

    @property
    def schema(self) -> pa.Schema:
        """The columns of `nearest`."""
        return NEAREST

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Search for what is near each frame, a batch for each."""
        others = frames_given(self.other, context)  # first: it may embed what the source is part of
        rows = frames_given(self.source, context)
        for each in (rows, others):
            settle_scores(context, each.places)
        ids = context.reading.view.frames.row_ids[rows.listed]
        among = _Among(context, others)
        for start in range(0, len(ids), context.batch_rows):
            part = ids[start : start + context.batch_rows]
            vectors = context.reading.rows.vectors(part)
            for one, vector in zip(part.tolist(), vectors, strict=True):
                check_awaited()
                yield self._near(context, one, vector, among)

    def _near(
        self, context: Context, one: int, vector: np.ndarray, among: "_Among"
    ) -> pa.RecordBatch:
        scope = among.without(int(row_id.videos_of(one)) if self.apart else None)
        exact = context.options.exact is True
        hits = context.reading.rows.snapshot.search(vector, self.count + 1, scope, exact=exact)
        among.note(hits)
        kept = hits.row_ids != one
        near, scores = hits.row_ids[kept][: self.count], hits.scores[kept][: self.count]
        frames = context.reading.view.frames
        all_ids = np.append(one, near)
        seconds = frames.seconds[frames.places(all_ids)]
        videos, numbers = row_id.videos_of(all_ids), row_id.frames_of(all_ids)
        count = len(near)
        columns = {
            "video_id": np.repeat(videos[:1], count),
            "frame": np.repeat(numbers[:1], count),
            "seconds": np.repeat(seconds[:1], count),
            "place": np.arange(1, count + 1),
            "near_video_id": videos[1:],
            "near_frame": numbers[1:],
            "near_seconds": seconds[1:],
            "score": scores.astype(np.float64),
        }
        table = pa.table(columns).cast(NEAREST)
        return pa.RecordBatch.from_arrays(
            [c.combine_chunks() for c in table.columns], schema=NEAREST
        )


@dataclass(slots=True)
class _Among:
    """What is searched, prepared once for the frames of a video."""

    context: Context
    others: FrameRows
    video: int | None = None
    scope: SearchScope | None = None
    noted: bool = False

    def note(self, hits: Hits) -> None:
        """Note how the first was found, and of all whether rows may have been missed."""
        if not self.noted:
            self.context.work.note_search(hits)
        self.noted = True
        self.context.work.approximate |= not hits.exact

    def without(self, video: int | None) -> SearchScope:
        """Return the rows to search, those of a video left out."""
        if self.scope is None or video != self.video:
            places = self.others.places
            if video is not None:
                places = self.others.listed
                ids = self.others.frames.row_ids[places]
                places = places[row_id.videos_of(ids) != video]
            self.scope, self.video = self.context.reading.rows.scope(places), video
        return self.scope
