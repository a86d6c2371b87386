"""From single hits to the spots of videos worth showing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.answering.ground import smooth
from engine.moments import Span, find_spans, frame_stops, is_apart
from engine.operators.base import Context, row_ids
from engine.operators.measure import cosines
from engine.results import GroupBy
from engine.storage.store import Hits

_SAMPLE = 512  # rows that tell what the text scores on average
_LEVEL = 0.6  # of the way from a floor to the video's peak; what lies above belongs to a moment
_SMOOTH_SECONDS = 0.2
_STEP_FRAMES = 2  # on each side of a step
_CLEAR, _LARGE = 8.0, 0.1  # times the usual change between frames; share of peak over average


@dataclass(frozen=True, slots=True)
class Spot:
    """A span of a video."""

    video_id: int
    span: Span
    row_id: int  # of its highest frame


@dataclass(frozen=True, slots=True)
class _Curve:
    """The scores of a video's frames in the order of their times."""

    ids: NDArray[np.int64]
    seconds: NDArray[np.float64]
    scores: NDArray[np.float64]

    def frames(self, wanted: NDArray[np.int64]) -> list[Spot]:
        """Each wanted frame as a spot of its own."""
        stops = frame_stops(self.seconds)
        return [
            Spot(
                int(self.ids[at] >> 32),
                Span(
                    float(self.seconds[at]),
                    float(stops[at]),
                    float(self.seconds[at]),
                    float(self.scores[at]),
                    int(at),
                ),
                int(self.ids[at]),
            )
            for at in np.flatnonzero(np.isin(self.ids, wanted))
        ]


def stands_out(
    seconds: NDArray[np.float64], scores: NDArray[np.float64], average: float
) -> NDArray[np.bool_]:
    """Tell which frames of a video belong to a moment, from what they score.

    Where something begins or ends the scores have a step, and the floor of the level is the lowest
    score of the video. Without one its frames are alike, and the floor is the `average` of the text
    over the store: what holds all the time must not fall apart where it scores a little less.
    """
    even = smooth(seconds, scores, _SMOOTH_SECONDS)
    peak, usual = float(even.max()), min(float(np.median(even)), average)
    step = _largest_step(scores)
    change = float(np.median(np.abs(np.diff(scores)))) if len(scores) > 1 else 0.0
    has_step = step > _CLEAR * change and step > _LARGE * (peak - usual)
    floor = float(even.min()) if has_step else usual
    # the margin is for rounding: a flat curve is one moment
    found: NDArray[np.bool_] = even >= floor + _LEVEL * (peak - floor) - 1e-9
    return found


def _largest_step(scores: NDArray[np.float64]) -> float:
    """The largest difference between the means of the frames before and after an instant."""
    if len(scores) < 2:
        return 0.0
    total, at = np.append(0.0, np.cumsum(scores)), np.arange(1, len(scores))
    start, stop = np.maximum(at - _STEP_FRAMES, 0), np.minimum(at + _STEP_FRAMES, len(scores))
    before = (total[at] - total[start]) / (at - start)
    after = (total[stop] - total[at]) / (stop - at)
    return float(np.abs(after - before).max())


class Peaks:
    """Groups hits for one vector; a video's curve is scored once, however often hits are asked."""

    def __init__(
        self,
        context: Context,
        vector: NDArray[np.float32],
        min_score: float | None,
        near_duplicate: float,
    ) -> None:
        self.context, self.vector = context, vector
        self.min_score, self.near_duplicate = min_score, near_duplicate
        self.floor = self._average() if min_score is None else min_score
        self.dropped = 0
        self._curves: dict[int, _Curve] = {}
        self._moments: dict[int, list[Spot]] = {}

    def group(self, hits: Hits, group_by: GroupBy) -> list[Spot]:
        """Return the spots whose highest frame is among the hits, best first, without doubles."""
        ids = hits.row_ids
        if self.min_score is not None:
            ids = ids[hits.scores >= self.min_score]
        videos = dict.fromkeys(int(row) >> 32 for row in ids)
        self._score({video for video in videos if video not in self._curves})
        spots: list[Spot] = []
        for video in videos:
            found = ids[ids >> 32 == video]
            if group_by == "frame":
                spots += self._curves[video].frames(found)
                continue
            wanted = set(found.tolist())
            known = self._spots(video)[: 1 if group_by == "video" else None]
            spots += [spot for spot in known if spot.row_id in wanted]
        spots.sort(key=lambda spot: (-spot.span.score, spot.row_id))
        return spots if group_by == "video" else self._apart(spots)

    def _apart(self, spots: list[Spot]) -> list[Spot]:
        """Keep the best of the spots that show the same picture."""
        rows = np.asarray([spot.row_id for spot in spots], np.int64)
        vectors = self.context.store.vectors(self.context.space, rows).astype(np.float64)
        kept: list[Spot] = []
        shown: list[NDArray[np.float64]] = []
        for spot, vector in zip(spots, vectors, strict=True):
            if is_apart(vector, shown, self.near_duplicate):
                kept.append(spot)
                shown.append(vector)
        self.dropped = len(spots) - len(kept)
        return kept

    def _score(self, videos: set[int]) -> None:
        if not videos:
            return
        names = ["video_id", "frame", "seconds"]
        rows = self.context.store.rows(self.context.space, sorted(videos), names)
        ids, seconds = row_ids(rows), rows.column("seconds").to_numpy()
        scores = cosines(self.context, self.vector, ids)
        for video in videos:
            own = np.flatnonzero(ids >> 32 == video)
            own = own[np.argsort(seconds[own])]
            self._curves[video] = _Curve(ids[own], seconds[own], scores[own])

    def _spots(self, video: int) -> list[Spot]:
        """The moments of a video, best first."""
        if video not in self._moments:
            curve = self._curves[video]
            if self.min_score is not None:
                is_hit = curve.scores >= self.min_score
            else:
                is_hit = stands_out(curve.seconds, curve.scores, self.floor)
            gap = self.context.options.gap_seconds
            spans = find_spans(curve.seconds, curve.scores, is_hit, gap)
            spots = [Spot(video, span, int(curve.ids[span.peak])) for span in spans]
            self._moments[video] = sorted(spots, key=lambda spot: -spot.span.score)
        return self._moments[video]

    def _average(self) -> float:
        """What the vector scores on average over the whole store."""
        rows = self.context.store.rows(self.context.space, None, ["row_id"])
        ids = rows.column("row_id").to_numpy()
        if len(ids) == 0:
            return 0.0
        sample = ids[:: max(1, len(ids) // _SAMPLE)]
        return float(np.mean(cosines(self.context, self.vector, sample)))
