"""What a text scores on average over the store: a number that other queries do not move."""

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.search.context import SearchContext
from engine.search.refiner import Refiner
from engine.storage.view import FrameTable, Places

SAMPLE: Final = 512  # rows that tell it


@dataclass(frozen=True, slots=True)
class MeanFrame:
    """The mean vector of sampled rows; `final` where all of them were exact."""

    vector: NDArray[np.float32]
    final: bool

    def score(self, vector: NDArray[np.float32]) -> float:
        """Return what a text scores on average."""
        return float(self.vector.astype(np.float64) @ vector)


def mean_frame(context: SearchContext, refiner: Refiner | None) -> MeanFrame:
    """Return the mean of the store's frames, measured once for what is stored.

    Rows that queries make exact afterwards do not change it, except where a query asks for exact
    answers, or where all of the sample have become so: then it is measured for good. While videos
    are being embedded it is measured each time, and not kept.
    """
    frames = context.reading.view.frames
    if not len(frames):
        return MeanFrame(np.zeros(context.reading.rows.snapshot.dimension, np.float32), True)
    places = np.arange(0, len(frames), max(1, len(frames) // SAMPLE))
    key = hashlib.sha256(frames.row_ids[places].tobytes()).hexdigest()
    stored = _stored(context, key)
    if stored is not None and (stored.final or not _can_be_final(context, refiner, frames, places)):
        return stored
    if refiner is not None and context.options.exact is True:
        refiner.refine_all(frames.row_ids[places])
    frames = context.reading.view.frames
    found = context.reading.rows.vectors(frames.row_ids[places])
    made = MeanFrame(found.mean(0), bool(frames.exact[places].all()))
    if not context.reading.view.has_unsettled:
        told = {"rows": key, "vector": made.vector.tolist(), "final": made.final}
        context.store.catalog.set_calibration(context.space, "mean", told)
    return made


def _stored(context: SearchContext, key: str) -> MeanFrame | None:
    known: dict[str, Any] | None = context.store.catalog.calibration(context.space, "mean")
    if known is None or known["rows"] != key:
        return None
    return MeanFrame(np.asarray(known["vector"], np.float32), bool(known["final"]))


def _can_be_final(
    context: SearchContext, refiner: Refiner | None, frames: FrameTable, places: Places
) -> bool:
    """Whether the sample is exact, or this query makes it so."""
    asked = refiner is not None and context.options.exact is True and bool(refiner.rows_left())
    return asked or bool(frames.exact[places].all())
