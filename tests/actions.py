"""An action model by arithmetic: which clips were asked for, and what happens in each."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.errors import UsageError, unknown
from engine.operators.base import Context
from engine.search.work import ActionWork
from schemas.tables import CLIPS

LABELS = ("moving left", "jumps", "runs")


class TwoSecondActions:
    """Spans of two seconds; what happens in each is drawn by its video and number."""

    labels = LABELS
    caution = None
    space = "arithmetic"

    def __init__(self, lost: frozenset[tuple[int, int]] = frozenset()) -> None:
        self.asked: list[tuple[int, int]] = []
        self.lost = lost

    def place(self, label: str) -> int:
        if label not in LABELS:
            raise UsageError(unknown("action", label, LABELS))
        return LABELS.index(label)

    def clips(self, gops: pa.Table) -> pa.Table:
        spans = gops.sort_by([("video_id", "ascending"), ("start_seconds", "ascending")])
        columns = (spans.column(name) for name in ("video_id", "gop", "start_seconds"))
        stops = spans.column("stop_seconds")
        return pa.table([*columns, stops], schema=CLIPS)

    def too_short(self, gops: pa.Table) -> str | None:
        return None

    def stored(self, clips: pa.Table | pa.RecordBatch) -> NDArray[np.bool_]:
        return np.zeros(len(clips), bool)

    def classify(self, clips: pa.RecordBatch, context: Context) -> NDArray[np.float32]:
        keys = [(row["video_id"], row["clip"]) for row in clips.to_pylist()]
        self.asked += keys
        whole = not any(key in self.lost for key in keys)
        context.work.actions.append(ActionWork(0, len(keys), 0.0, whole))
        lines = [np.full(3, np.nan) if key in self.lost else shares(*key) for key in keys]
        return np.array(lines, np.float32).reshape(-1, 3)


def shares(video: int, clip: int) -> NDArray[np.float64]:
    """Probabilities of one clip."""
    drawn = np.random.default_rng(100 * video + clip).random(3)
    return drawn / drawn.sum()
