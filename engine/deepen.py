"""Coarse videos made fine in idle time: what is likeliest to hide something first."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine.errors import UsageError
from engine.search.context import Range
from engine.search.missing import covered, spans_of
from engine.search.work import Embedded
from engine.storage.store import Store
from engine.storage.view import View

AT_ONCE = 16  # groups of pictures, after which it may stop


@dataclass(frozen=True, slots=True)
class DeepenReport:
    """What was embedded of coarse videos, and what is left."""

    gops: int
    frames: int
    seconds: float
    left_gops: int
    left_seconds: float  # of video of which the first frame of each GOP was looked at alone

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return asdict(self)


class Deepened(Protocol):
    """Who wants to know how far it is, and may stop it."""

    def deepened(self, report: DeepenReport) -> None:
        """Take in what was done so far."""

    def stopped(self) -> bool:
        """Return True to end it."""


def deepen(
    store: Store,
    space: str,
    embed: Callable[[Sequence[Range]], Embedded],
    *,
    seconds: float | None = None,
    progress: Deepened | None = None,
) -> DeepenReport:
    """Embed what coarse videos lack, for at most so many seconds.

    First come the groups of pictures whose first frame differs most from the next one's: more has
    happened in between. One that cannot be read is left out. It stops between groups of pictures
    where `progress` says so; queries go on meanwhile.
    """
    if seconds is not None and seconds <= 0:
        raise UsageError(f"seconds is {seconds:g}; allowed: more than 0")
    started, gops, frames = perf_counter(), 0, 0
    tried: set[tuple[int, float]] = set()
    while True:
        waiting = likeliest(store.view(space))
        spent = perf_counter() - started
        left = sum(each.stop_seconds - each.start_seconds for each in waiting)
        report = DeepenReport(gops, frames, spent, len(waiting), left)
        if progress is not None:
            progress.deepened(report)
        fresh = [each for each in waiting if (each.video_id, each.start_seconds) not in tried]
        stopped = progress is not None and progress.stopped()
        if not fresh or stopped or (seconds is not None and spent >= seconds):
            return report
        chosen = fresh[:AT_ONCE]
        tried.update((each.video_id, each.start_seconds) for each in chosen)
        done = embed(chosen)
        gops, frames = gops + done.gops, frames + done.frames


def likeliest(view: View) -> list[Range]:
    """Return the groups of pictures of coarse videos that lack rows, most changed first."""
    own = pc.is_in(view.gops.column("video_id"), pa.array(view.coarse))
    order = [("video_id", "ascending"), ("start_seconds", "ascending")]
    gops = view.gops.filter(own).sort_by(order)
    if not len(gops) or view.rows is None:
        return []
    videos, starts, stops = spans_of(gops)
    change = np.concatenate(
        [_changes(view, video, starts[videos == video]) for video in view.coarse.tolist()]
    )
    left = np.flatnonzero(~covered(view, gops))
    ranked = left[np.argsort(-change[left], kind="stable")]
    spans = zip(videos[ranked], starts[ranked], stops[ranked], strict=True)
    return [Range(int(video), float(start), float(stop)) for video, start, stop in spans]


def _changes(view: View, video: int, starts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far the first row at or after each start is from that of the next, `[n]`."""
    assert view.rows is not None
    places = view.frames.of_videos([video])
    rows = view.frames.table(["row_id", "video_id", "seconds"], places)
    rows = rows.filter(pc.equal(rows.column("video_id"), video))
    if not len(rows):
        return np.zeros(len(starts))
    seconds = rows.column("seconds").to_numpy()
    first = np.searchsorted(seconds, starts - 1e-6).clip(max=len(seconds) - 1)
    vectors = view.rows.vectors(rows.column("row_id").to_numpy()[first])
    following = np.concatenate([vectors[1:], vectors[-1:]])
    found: NDArray[np.float64] = 1.0 - (vectors * following).sum(1, dtype=np.float64)
    return found
