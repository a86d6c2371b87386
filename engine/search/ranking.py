"""The best spans for a vector, deepened until nothing left out could change them."""

from dataclasses import dataclass, field
from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.results import GroupBy
from engine.search.average import MeanFrame, mean_frame
from engine.search.context import SearchContext
from engine.search.grouping import Grouping, VideoSpan
from engine.search.nearest import refiner_of
from engine.search.ordered import best_in_order
from engine.search.refiner import Refiner
from engine.search.selection import Selection
from engine.search.work import Refined
from engine.storage.view import Places, View

DEPTH: Final = 8  # hits looked at first, per result asked for
DEEPER: Final = 4  # so many times more hits are looked at next


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a query asks for."""

    top_k: int
    group_by: GroupBy
    min_score: float | None
    near_duplicate: float


@dataclass(slots=True)
class Ranking:
    """The best spans among the frames that were looked at so far."""

    context: SearchContext
    vector: NDArray[np.float32]
    selection: Selection
    wanted: Wanted
    refiner: Refiner | None = field(init=False)
    depth: int = field(init=False)  # hits looked at
    spans: list[VideoSpan] = field(init=False, default_factory=list)
    index: str = field(init=False, default="nothing to search")
    num_duplicates: int = field(init=False, default=0)
    settled: bool = field(init=False)
    mean: MeanFrame | None = field(init=False)  # None: edges do not rest on it
    grouping: Grouping | None = field(init=False, default=None)  # of the moment `seen`
    seen: View | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.settled = not self.selection.count
        self.depth = DEPTH * self.wanted.top_k
        self.refiner = None if self.settled else refiner_of(self.context)
        by_mean = self.wanted.group_by != "frame" and self.wanted.min_score is None
        self.mean = mean_frame(self.context, self.refiner) if by_mean else None

    def deepen(self) -> None:
        """Rank what the best hits give; then look deeper, or make exact what is undecided."""
        grouping = self._at_present()
        rows, exact = self.context.reading.rows, self.context.options.exact is True
        hits = best_in_order(rows, self.vector, self.depth, self.selection.places, exact=exact)
        self.context.work.note_search(hits)
        self.spans, self.index = grouping.group(hits), hits.index
        self.num_duplicates = grouping.num_duplicates
        short = len(self.spans) < self._most
        bar = -inf if short else self.spans[self._most - 1].span.score
        if len(hits.row_ids) == self.depth and (short or grouping.may_miss(hits, bar)):
            self.depth *= DEEPER
            return
        self.grouping = None  # also what cannot be read is known only now
        if self.refiner is None or not (
            self.refiner.refine_first(grouping.undecided_rows(bar)) or self._settle_edges()
        ):
            self._settle()

    @property
    def edges_may_move(self) -> bool:
        """Whether spans could begin or end elsewhere if all rows that they rest on were exact.

        An edge rests on all frames of its video and, without `min_score`, on the average over the
        store: unless exact answers are asked for, only what decides which spans there are is made
        exact, not all of that.
        """
        if self.wanted.group_by == "frame" or not self.spans:
            return False
        if self.mean is not None and not self.mean.final:
            return True
        return not bool(self.context.reading.view.frames.exact[self._rests_on()].all())

    def _rests_on(self) -> Places:
        """Return the places of all frames of the videos whose spans are shown."""
        frames = self.context.reading.view.frames
        places = frames.of_videos([item.video_id for item in self.spans[: self.wanted.top_k]])
        return np.arange(len(frames)) if places is None else places

    def _settle_edges(self) -> bool:
        """Make exact what edges rest on, where exact answers are asked for; False if all is."""
        if self.context.options.exact is not True or self.wanted.group_by == "frame":
            return False
        assert self.refiner is not None
        frames = self.context.reading.view.frames
        return bool(self.spans) and self.refiner.refine_all(frames.row_ids[self._rests_on()])

    @property
    def _most(self) -> int:
        """How many spans there can be at most."""
        if self.wanted.group_by == "video":
            return min(self.wanted.top_k, len(self.selection.names))
        return self.wanted.top_k

    def _at_present(self) -> Grouping:
        """Return what groups hits; it is kept while nothing but the depth changes."""
        if self.grouping is None or self.seen is not self.context.reading.view:
            self.seen, self.grouping = self.context.reading.view, self._grouping()
        return self.grouping

    def _grouping(self) -> Grouping:
        return Grouping(
            self.context,
            self.vector,
            self.wanted.group_by,
            min_score=self.wanted.min_score,
            average=self.mean.score(self.vector) if self.mean else self.wanted.min_score or 0.0,
            near_duplicate=self.wanted.near_duplicate,
            refiner=self.refiner,
        )

    def _settle(self) -> None:
        self.settled = True
        if self.refiner is not None and (refined := self.refiner.report()) != Refined():
            self.context.work.refined.append(refined)
