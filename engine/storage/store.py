"""The data folder: Parquet parts (the truth), the DuckDB catalog and the FAISS index (derived)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa

from engine.storage.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Rows:
    """Sampled frames of one stretch, in the order of their times."""

    frame: np.ndarray  # int32 [n], 0-based number of the sampled frame within the video
    seconds: np.ndarray  # float64 [n]
    picture: Sequence[str]  # "I", "P", "B" or "?"
    embeddings: np.ndarray  # float32 [n, E], unit rows; stored as float16
    reuse_rate: np.ndarray  # float32 [n]
    drift: np.ndarray  # float32 [n], 1 - cosine to dense; NaN where not estimated
    exact: np.ndarray  # bool [n], the vector is the dense one


@dataclass(frozen=True, slots=True)
class Hits:
    """Rows by falling score; `index` says how they were found."""

    row_ids: np.ndarray  # int64 [k]: video_id << 32 | frame
    scores: np.ndarray  # float32 [k], cosine
    index: str  # such as "flat", "ivf632,sq16, 41 lists", "exact scan"


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """The state of one space's index."""

    space_key: str
    kind: str  # "none" before the first build
    num_rows: int  # rows that a search sees
    in_index: int
    in_delta: int  # rows searched exactly until they are merged
    tombstones: int
    state: str  # "ready", or why it is not and what happens


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that verify found; `kind` is one word, `message` one line."""

    video_id: int | None
    kind: str
    message: str


class Store:
    """One data folder, held by one writing process; its methods may be called from any thread."""

    catalog: Catalog

    @classmethod
    def open(cls, root: Path, *, reached: Callable[[str], None] = lambda _: None) -> "Store":
        """Open or create a data folder, sweeping what an unfinished run left behind.

        Raises StoreError naming pid, command and URL of the process that holds it, if one does.
        `reached` is called with the name of every commit point as it is passed.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Give the folder back; the store is unusable afterwards."""

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def announce(self, url: str) -> None:
        """Write into the lock that this process serves at `url`; see `lock.holder(root)`."""

    def write_part(
        self,
        video_id: int,
        space_key: str,
        sampling: str,
        strategy: str,
        stretch: int,
        start_seconds: float,
        stop_seconds: float,
        rows: Rows,
    ) -> None:
        """Commit one stretch, durably on return; a stretch that is there already is left alone.

        Rows are seen at once where the video has no rows of another sampling; otherwise once
        `finish_segment` has been called. At one sampling several strategies may lie together: of
        two vectors of one frame the exact one is seen, of two of a kind the newer.
        """

    def finish_segment(
        self, video_id: int, space_key: str, sampling: str, strategy: str, num_frames: int
    ) -> None:
        """Say that all stretches are there and how many frames the sampling gives in all.

        From now on queries see this sampling; rows of any other sampling of the video go.
        """

    def committed_stretches(
        self, video_id: int, space_key: str, sampling: str, strategy: str
    ) -> set[int]:
        """Return the stretches that need not be encoded again."""
        raise NotImplementedError

    def supersede(
        self, space_key: str, video_id: int, frames: np.ndarray, embeddings: np.ndarray
    ) -> None:
        """Put exact vectors in the place of approximate ones (drift 0, reuse 0, strategy dense)."""

    def rows(
        self,
        space_key: str,
        video_ids: Sequence[int] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Return the seen rows by row id.

        Columns: row_id, video_id, frame, seconds, picture, strategy, reuse_rate, drift, exact and,
        only when asked for, embedding.
        """
        raise NotImplementedError

    def vectors(self, space_key: str, row_ids: np.ndarray) -> np.ndarray:
        """Return the vectors of rows in the order given: float32 `[n, E]`."""
        raise NotImplementedError

    def search(
        self, space_key: str, query: np.ndarray, k: int, *, allowed: np.ndarray | None = None
    ) -> Hits:
        """Return the `k` nearest (allowed) rows to a unit vector; never fewer while rows remain."""
        raise NotImplementedError

    def scores(self, space_key: str, query: np.ndarray, row_ids: np.ndarray | None = None) -> Hits:
        """Return the exact score of every (given) row, by falling score."""
        raise NotImplementedError

    def build_index(self, space_key: str) -> IndexStatus:
        """Build a space's index afresh from the stored rows and save it."""
        raise NotImplementedError

    def index_status(self) -> list[IndexStatus]:
        """Return the state of every space's index."""
        raise NotImplementedError

    def compact(self) -> int:
        """Fold overlays and small parts; return how many files went."""
        raise NotImplementedError

    def verify(self, video_id: int | None = None) -> list[Problem]:
        """Return everything that is not as it should be, of one video or of all."""
        raise NotImplementedError
