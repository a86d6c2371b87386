"""Coarse videos made fine where an answer may be: groups of pictures, the likeliest first."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.search.context import Range, SearchContext
from engine.search.missing import covered, ranges_of, spans_of
from engine.storage.snapshot import members

ROUND = 8  # groups of pictures embedded before it is judged again which are likely
MOST = 16  # in one query, unless it says
START = 0.5  # of the spread of scores: what a group may hide while none was looked at
BESTS = 2  # groups for each moment asked for, among which a group must be able to be
HIDDEN = 0.9  # quantile of what groups were seen to hide


@dataclass(slots=True)
class Deepening:
    """The groups of pictures of coarse videos, and what a query knows of each.

    A group's first frame is scored; the rest of it may score higher. By how much is seen in the
    groups that the query embeds. A group is embedded where it could be among the best: until none
    could, or as many were embedded as are allowed.
    """

    context: SearchContext
    vector: NDArray[np.float32]
    top_k: int
    videos: NDArray[np.int64]
    gops: pa.Table = field(init=False)  # of those videos, by video and time
    guess: NDArray[np.float64] = field(init=False)  # score of each group's first row
    hid: list[float] = field(init=False, default_factory=list)  # what the embedded ones hid

    def __post_init__(self) -> None:
        view = self.context.reading.view
        order = [("video_id", "ascending"), ("start_seconds", "ascending")]
        self.gops = view.gops_of(self.videos).sort_by(order)
        self.guess = self._best()

    def run(self) -> None:
        """Embed groups until no other could be among the best, or the budget is spent."""
        most = self.context.options.deepen_gops
        left = MOST if most is None else most
        while left > 0 and len(chosen := self._likely(min(left, ROUND))):
            left -= len(chosen)
            wanted = ranges_of(*spans_of(self.gops.take(pa.array(chosen))))
            self.context.embed_missing(wanted)
            if not self.context.work.embedded[-1].complete:
                return
            self.hid += (self._best()[chosen] - self.guess[chosen]).tolist()

    @property
    def left(self) -> list[Range]:
        """What only first frames were looked at of, as ranges."""
        still = ~covered(self.context.reading.view, self.gops)
        return ranges_of(*(values[still] for values in spans_of(self.gops)))

    def _likely(self, most: int) -> NDArray[np.int64]:
        """Return the likeliest groups that are not embedded and could be among the best."""
        still = ~covered(self.context.reading.view, self.gops)
        best = np.sort(self._best())[::-1]
        rank = BESTS * self.top_k  # groups beside each other are one moment
        bar = best[rank - 1] if len(best) >= rank else -np.inf
        hidden = np.quantile(self.hid, HIDDEN) if self.hid else START * float(np.std(self.guess))
        at = np.flatnonzero(still & (self.guess + hidden >= bar))
        order = np.argsort(-self.guess[at], kind="stable")
        return np.sort(at[order[:most]])

    def _best(self) -> NDArray[np.float64]:
        """Return the best score of the rows of each group; without rows that of the row before."""
        frames = self.context.reading.view.frames
        places = frames.of_videos(self.videos.tolist())
        scores = self.context.reading.rows.scores(self.vector, places)
        rows = frames.table(["video_id", "seconds"], places)
        of_row, seconds = (rows.column(name).to_numpy() for name in ("video_id", "seconds"))
        videos, starts, _ = spans_of(self.gops)
        found = np.full(len(starts), -1.0)
        for video in self.videos.tolist():
            own, mine = videos == video, slice(*np.searchsorted(of_row, [video, video + 1]))
            best = np.full(int(own.sum()), -np.inf)
            group = np.searchsorted(starts[own], seconds[mine] + 1e-6, "right") - 1
            np.maximum.at(best, group.clip(min=0), scores[mine])
            for at in np.flatnonzero(~np.isfinite(best)):
                best[at] = best[at - 1] if at else -1.0
            found[own] = best
        return found


def deepen(
    context: SearchContext, vector: NDArray[np.float32], videos: NDArray[np.int64] | None, k: int
) -> bool:
    """Embed of the coarse ones among some videos or all what may be among the `k` best moments.

    Returns whether there are rows that were not there before.
    """
    coarse = context.reading.view.coarse
    if videos is not None:
        coarse = coarse[members(coarse, videos)]
    if not len(coarse) or context.reading.final:
        return False
    deepening = Deepening(context, vector, k, coarse)
    deepening.run()
    left = deepening.left
    context.work.coarse_seconds = sum(each.stop_seconds - each.start_seconds for each in left)
    return bool(deepening.hid)
