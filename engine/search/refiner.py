"""Makes stored rows exact within a budget, and tells how far those that are not may be off."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from engine.cage.ending import check_awaited
from engine.errors import NotFoundError, VideoError
from engine.search.error_bounds import Residuals
from engine.search.reading import Reading
from engine.search.work import Refined
from engine.storage import row_id

Images = Sequence[NDArray[np.uint8]]
Redecode = Callable[[int, Sequence[int]], Images]  # (video_id, frame numbers) to their pictures
EmbedImages = Callable[[Images], NDArray[np.float32]]
Query = NDArray[np.float32]
Ids = NDArray[np.int64]

_BATCH = 16  # rows made exact before looking again
_CLUSTERS, _RUN = 12, 4  # the audit draws that many places, and so many rows in a row at each
_GROWTH = 4  # so many times more approximate rows ask for a new audit


@dataclass(slots=True)
class Refiner:
    """Makes rows of one space exact for a query, within a budget; counts what it did.

    `confidence` is that of each row's error bound. Rows of a video whose file cannot be read stay
    approximate, and the answer is not complete.
    """

    reading: Reading
    redecode: Redecode
    embed_images: EmbedImages
    confidence: float = 0.99
    max_frames: int | None = None
    max_seconds: float | None = None
    refined: int = 0
    started: float = field(default_factory=perf_counter)
    unreadable: set[int] = field(default_factory=set)  # ids of videos
    stopped: bool = False  # by the budget, while something was left to refine
    audited: Residuals | None = None  # known once they have been asked for
    asked: bool = False
    largest: float | None = None  # of the error bounds of all rows

    @property
    def seconds(self) -> float:
        """Time since it was made."""
        return perf_counter() - self.started

    def batch_size(self) -> int:
        """Rows that the budget allows before it is looked at again."""
        return min(self.rows_left(), _BATCH)

    def rows_left(self) -> int:
        """Rows that the budget still allows."""
        if self.max_seconds is not None and self.seconds >= self.max_seconds:
            return 0
        return sys.maxsize if self.max_frames is None else max(0, self.max_frames - self.refined)

    def refine(self, row_ids: Ids) -> None:
        """Decode and embed these rows densely, and store the exact vectors."""
        check_awaited()
        videos: list[tuple[int, Ids]] = []
        images: list[NDArray[np.uint8]] = []
        for video_id in np.unique(row_id.videos_of(row_ids)).tolist():
            frames = np.sort(row_id.frames_of(row_ids[row_id.videos_of(row_ids) == video_id]))
            try:
                images += self.redecode(video_id, frames.tolist())
            except (NotFoundError, VideoError):
                self.unreadable.add(video_id)
                continue
            videos.append((video_id, frames))
        if not images:
            return
        vectors = np.split(
            self.embed_images(images), np.cumsum([len(frames) for _, frames in videos])[:-1]
        )
        for (video_id, frames), own in zip(videos, vectors, strict=True):
            if not self.reading.supersede(video_id, frames.astype(np.int32), own):
                self.unreadable.add(video_id)
            self.refined += len(frames)

    def refine_first(self, row_ids: Ids) -> bool:
        """Make the first of these rows exact, as many as the budget allows; False if none was."""
        count = self.batch_size()
        self.stopped |= len(row_ids) > 0 and not count
        self.refine(row_ids[:count])
        return len(row_ids) > 0 and count > 0

    def refine_all(self, row_ids: Ids) -> bool:
        """Make those of these rows exact that are not, as the budget allows; False if none was."""
        before, waiting = self.refined, row_ids
        while True:
            waiting = waiting[~self.drifts_of(waiting)[1]]
            waiting = waiting[~np.isin(row_id.videos_of(waiting), list(self.unreadable))]
            if not (len(waiting) and self.refine_first(waiting)):
                return self.refined > before

    def report(self, confidence: float = 1.0) -> Refined:
        """Return what was done so far, and how sure the order is."""
        complete = not self.stopped and not self.unreadable
        if complete and not self.refined:
            return Refined()  # there was nothing to do
        return Refined(self.refined, self.seconds, complete, confidence, self.stopped)

    def error_bounds(self, query: Query, row_ids: Ids) -> NDArray[np.float64]:
        """How far the scores of these rows may be off; 0 where they are exact or cannot be read."""
        _, exact = self.drifts_of(row_ids)
        if exact.all() or not (residuals := self.residuals()):
            return np.zeros(len(row_ids))
        drifts, exact = self.drifts_of(row_ids)  # the audit may have made some exact
        bounds = residuals.spread_of(query, drifts).bounds(self.confidence)
        bounds[exact | np.isin(row_id.videos_of(row_ids), list(self.unreadable))] = 0.0
        return bounds

    def largest_error(self, query: Query) -> float:
        """The largest error bound of any row of the space, for the one query that this is for."""
        if self.largest is None:
            frames = self.reading.view.frames
            open_rows = frames.row_ids[~frames.exact]
            self.largest = float(self.error_bounds(query, open_rows).max(initial=0.0))
        return self.largest

    def drifts_of(self, row_ids: Ids) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The drifts and exact flags of these rows."""
        frames = self.reading.view.frames
        places = frames.places(row_ids)
        return frames.drift[places], frames.exact[places]

    def residuals(self) -> Residuals | None:
        """Return the space's audited rows, drawing them first where there are none or too few.

        None where the budget does not allow an audit, or too few rows can be read.
        """
        if not self.asked:
            self.asked, self.audited = True, self._stored_residuals()
        return self.audited

    def _stored_residuals(self) -> Residuals | None:
        catalog, space = self.reading.store.catalog, self.reading.space
        num_open = int((~self.reading.view.frames.exact).sum())
        stored = catalog.calibration(space, "residuals")
        if stored and num_open <= _GROWTH * max(stored["rows"], 64):
            return Residuals.of_json(stored)
        drawn = self._audit()
        if drawn is not None:
            catalog.set_calibration(space, "residuals", drawn.as_json())
        return drawn

    def _audit(self) -> Residuals | None:
        """Make a random sample exact, a few neighbours at each of some places."""
        frames = self.reading.view.frames
        open_rows = np.flatnonzero(~frames.exact)
        random = np.random.default_rng(len(open_rows))
        starts = random.choice(len(open_rows), min(_CLUSTERS, len(open_rows)), replace=False)
        drawn = np.unique((starts[:, None] + np.arange(_RUN)).clip(max=len(open_rows) - 1))
        row_ids, drifts = frames.row_ids[open_rows[drawn]], frames.drift[open_rows[drawn]]
        if self.rows_left() < len(row_ids):
            self.stopped = True
            return None
        before = self.reading.rows.vectors(row_ids)
        self.refine(row_ids)
        read = ~np.isin(row_id.videos_of(row_ids), list(self.unreadable))
        if read.sum() < 2:
            return None
        after = self.reading.rows.vectors(row_ids[read])
        return Residuals.of_rows(after, before[read], drifts[read], len(open_rows))
