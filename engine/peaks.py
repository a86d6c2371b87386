"""From single hits to the spots of videos worth showing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.curve import Curve, Rule
from engine.moments import Span, frame_stops, is_apart
from engine.operators.base import Context, row_ids
from engine.operators.measure import cosines
from engine.operators.refiner import Refiner
from engine.results import GroupBy
from engine.storage.store import Hits

_SAMPLE = 512  # rows that tell what the text scores on average


@dataclass(frozen=True, slots=True)
class Spot:
    """A span of a video."""

    video_id: int
    span: Span
    row_id: int  # of its highest frame


class Peaks:
    """Groups hits for one vector; a video's curve is scored once, however often hits are asked.

    With a refiner it also tells which approximate rows could still change the spots.
    """

    def __init__(
        self,
        context: Context,
        vector: NDArray[np.float32],
        group_by: GroupBy,
        *,
        min_score: float | None,
        near_duplicate: float,
        refiner: Refiner | None,
    ) -> None:
        self.context, self.vector, self.group_by = context, vector, group_by
        self.min_score, self.near_duplicate = min_score, near_duplicate
        self.refiner = refiner
        average = self._average() if min_score is None else min_score
        self.rule = Rule(context.options.gap_seconds, min_score, average)
        self.dropped = 0
        self._curves: dict[int, Curve] = {}
        self._moments: dict[int, list[Spot]] = {}

    def group(self, hits: Hits) -> list[Spot]:
        """Return the spots whose highest frame is among the hits, best first, without doubles."""
        ids = near = hits.row_ids
        if self.min_score is not None:
            ids = ids[hits.scores >= self.min_score]
            near = near[hits.scores + self._widest() >= self.min_score]
        self._score({int(row) >> 32 for row in near} - self._curves.keys())
        spots: list[Spot] = []
        for video in dict.fromkeys(int(row) >> 32 for row in ids):
            found = ids[ids >> 32 == video]
            if self.group_by == "frame":
                spots += _frames(self._curves[video], found)
                continue
            wanted = set(found.tolist())
            known = self._spots(video)[: 1 if self.group_by == "video" else None]
            spots += [spot for spot in known if spot.row_id in wanted]
        spots.sort(key=lambda spot: (-spot.span.score, spot.row_id))
        return spots if self.group_by == "video" else self._apart(spots)

    def may_miss(self, hits: Hits, bar: float) -> bool:
        """Whether a row that scores less than all hits could still reach `bar`."""
        widest = self._widest()
        return widest > 0 and float(hits.scores[-1]) + widest >= bar

    def open_rows(self, bar: float) -> NDArray[np.int64]:
        """Return the rows that could change the spots that reach `bar`, the likeliest first."""
        found, highs = [np.empty(0, np.int64)], [np.empty(0)]
        for video, curve in self._curves.items():
            if curve.open.any() and curve.high.max() >= bar:
                open_rows = self._open(video, curve, bar)
                found.append(curve.ids[open_rows])
                highs.append(curve.high[open_rows])
        return np.concatenate(found)[np.argsort(-np.concatenate(highs), kind="stable")]

    def _widest(self) -> float:
        """The largest allowance of all rows."""
        return self.refiner.widest(self.vector) if self.refiner else 0.0

    def _open(self, video: int, curve: Curve, bar: float) -> NDArray[np.bool_]:
        if self.min_score is not None:
            bar = max(bar, self.min_score)
        if self.group_by == "frame":
            return curve.open & (curve.high >= bar)
        if self.group_by == "video":  # its other moments need not be known
            bar = max([bar, *(curve.low[spot.span.peak] for spot in self._spots(video))])
        return self.rule.open_rows(curve, bar)

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
        off = np.zeros(len(ids))
        if self.refiner:
            off = self.refiner.allowances(self.vector, ids)
        scores = cosines(self.context, self.vector, ids)
        for video in videos:
            own = np.flatnonzero(ids >> 32 == video)
            own = own[np.argsort(seconds[own])]
            self._curves[video] = Curve(ids[own], seconds[own], scores[own], off[own])

    def _spots(self, video: int) -> list[Spot]:
        """The moments of a video, best first."""
        if video not in self._moments:
            curve = self._curves[video]
            spans = self.rule.spans(curve)
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


def _frames(curve: Curve, wanted: NDArray[np.int64]) -> list[Spot]:
    """Each wanted frame as a spot of its own."""
    stops = frame_stops(curve.seconds)
    return [
        Spot(
            int(curve.ids[at] >> 32),
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
