"""When frames were recorded: their video's time, and so many seconds later."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.tables import FRAMES


@dataclass(frozen=True, slots=True)
class RecordedTimes:
    """The time of each video of which it is known."""

    video_ids: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))  # rising
    begins: NDArray[np.int64] = field(
        default_factory=lambda: np.empty(0, np.int64)
    )  # µs since 1970

    def same_as(self, other: "RecordedTimes") -> bool:
        """Whether both say the same."""
        return np.array_equal(self.video_ids, other.video_ids) and np.array_equal(
            self.begins, other.begins
        )

    @classmethod
    def of(cls, videos: pa.Table) -> Self:
        """Take the times from videos by rising id."""
        known = videos.select(["video_id", "recorded_at"]).drop_null()
        begins = pc.cast(known.column("recorded_at"), pa.int64())
        return cls(known.column("video_id").to_numpy(), begins.to_numpy())

    def at(self, video_ids: NDArray[np.int64], seconds: NDArray[np.float64]) -> pa.Array:
        """Return the instants of frames; null where their video's is not known."""
        kind = FRAMES.field("at").type
        if not len(self.video_ids):
            return pa.nulls(len(seconds), kind)
        place = np.searchsorted(self.video_ids, video_ids).clip(max=len(self.video_ids) - 1)
        unknown = self.video_ids[place] != video_ids
        later = np.rint(seconds * 1e6).astype(np.int64)
        return pa.array(self.begins[place] + later, pa.int64(), mask=unknown).cast(kind)
