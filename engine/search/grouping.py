"""From single hits to the spans of videos worth showing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.results import GroupBy
from engine.search.context import SearchContext
from engine.search.curve import Curve, MomentRule
from engine.search.missing import stands_until
from engine.search.moments import Span, distinct, frame_stops
from engine.search.refiner import Refiner
from engine.storage import row_id
from engine.storage.store import Hits


@dataclass(frozen=True, slots=True)
class VideoSpan:
    """A span of a video."""

    video_id: int
    span: Span
    row_id: int  # of its highest frame


class Grouping:
    """Groups hits for one vector; a video's curve is scored once, however often hits are asked.

    With a refiner it also tells which approximate rows could still change the spans.
    """

    def __init__(
        self,
        context: SearchContext,
        vector: NDArray[np.float32],
        group_by: GroupBy,
        *,
        min_score: float | None,
        average: float,
        near_duplicate: float,
        refiner: Refiner | None,
    ) -> None:
        self.context, self.vector, self.group_by = context, vector, group_by
        self.min_score, self.near_duplicate = min_score, near_duplicate
        self.refiner = refiner
        self.rule = MomentRule(context.options.gap_seconds, min_score, average)
        self.num_duplicates = 0
        self._curves: dict[int, Curve] = {}
        self._moments: dict[int, list[VideoSpan]] = {}

    def group(self, hits: Hits) -> list[VideoSpan]:
        """Return the spans whose highest frame is among the hits, best first, no picture twice."""
        ids = near = hits.row_ids
        if self.min_score is not None:
            ids = ids[hits.scores >= self.min_score]
            near = near[hits.scores + self._largest_error() >= self.min_score]
        self._score(set(row_id.videos_of(near).tolist()) - self._curves.keys())
        spans: list[VideoSpan] = []
        for video in dict.fromkeys(row_id.videos_of(ids).tolist()):
            found = ids[row_id.videos_of(ids) == video]
            if self.group_by == "frame":
                spans += _frames(self._curves[video], found)
                continue
            wanted = set(found.tolist())
            known = self._spans(video)[: 1 if self.group_by == "video" else None]
            spans += [span for span in known if span.row_id in wanted]
        spans.sort(key=lambda item: (-item.span.score, item.row_id))
        return spans if self.group_by == "video" else self._distinct(spans)

    def may_miss(self, hits: Hits, bar: float) -> bool:
        """Whether a row that scores less than all hits could still reach `bar`."""
        largest = self._largest_error()
        return largest > 0 and float(hits.scores[-1]) + largest >= bar

    def undecided_rows(self, bar: float) -> NDArray[np.int64]:
        """Return the rows that could change the spans that reach `bar`, the likeliest first."""
        found, highs = [np.empty(0, np.int64)], [np.empty(0)]
        for video, curve in self._curves.items():
            if curve.uncertain.any() and curve.high.max() >= bar:
                rows = self._undecided(video, curve, bar)
                found.append(curve.ids[rows])
                highs.append(curve.high[rows])
        return np.concatenate(found)[np.argsort(-np.concatenate(highs), kind="stable")]

    def _largest_error(self) -> float:
        return self.refiner.largest_error(self.vector) if self.refiner else 0.0

    def _undecided(self, video: int, curve: Curve, bar: float) -> NDArray[np.bool_]:
        if self.min_score is not None:
            bar = max(bar, self.min_score)
        if self.group_by == "frame":
            return curve.uncertain & (curve.high >= bar)
        if self.group_by == "video":  # its other moments need not be known
            bar = max([bar, *(curve.low[item.span.peak] for item in self._spans(video))])
        return self.rule.undecided_rows(curve, bar)

    def _distinct(self, spans: list[VideoSpan]) -> list[VideoSpan]:
        """Keep the best of the spans that show the same picture."""
        rows = np.asarray([item.row_id for item in spans], np.int64)
        vectors = self.context.reading.rows.vectors(rows).astype(np.float64)
        kept = distinct(vectors, self.near_duplicate)
        self.num_duplicates = len(spans) - len(kept)
        return [spans[at] for at in kept]

    def _score(self, videos: set[int]) -> None:
        if not videos:
            return
        view = self.context.reading.view
        frames = view.frames
        places = frames.of_videos(list(videos))
        where = slice(None) if places is None else places
        ids, seconds = frames.row_ids[where], frames.seconds[where]
        # first, since an audit makes some rows exact
        bounds = self.refiner.error_bounds(self.vector, ids) if self.refiner else np.zeros(len(ids))
        scores = self.context.reading.rows.scores(self.vector, places).astype(np.float64)
        for video in videos:
            own = slice(*np.searchsorted(ids, row_id.pack([video, video + 1], 0)))
            order = np.argsort(seconds[own])
            self._curves[video] = Curve(
                ids[own][order],
                seconds[own][order],
                scores[own][order],
                bounds[own][order],
                stands_until(view, video, seconds[own][order]),
            )

    def _spans(self, video: int) -> list[VideoSpan]:
        """The moments of a video, best first."""
        if video not in self._moments:
            curve = self._curves[video]
            found = self.rule.spans(curve)
            spans = [VideoSpan(video, span, int(curve.ids[span.peak])) for span in found]
            self._moments[video] = sorted(spans, key=lambda item: -item.span.score)
        return self._moments[video]


def _frames(curve: Curve, wanted: NDArray[np.int64]) -> list[VideoSpan]:
    """Each wanted frame as a span of its own."""
    stops = frame_stops(curve.seconds, curve.until)
    return [
        VideoSpan(
            int(row_id.videos_of(curve.ids[at])),
            Span(
                float(curve.seconds[at]),
                float(stops[at]),
                float(curve.seconds[at]),
                float(curve.scores[at]),
                int(at),
            ),
            int(curve.ids[at]),
        )
        for at in np.flatnonzero(np.isin(curve.ids, wanted))
    ]
