"""What can be asked of a data folder, by the process that writes it and by any other."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from engine.errors import UsageError, unknown
from engine.storage.catalog import Catalog
from engine.storage.completeness import (
    Lacking,
    State,
    VideoCompleteness,
    completeness,
    damaged,
    states,
)
from engine.storage.database import Database
from engine.storage.durable import Reached
from engine.storage.embeddings import check_unit, vector_lists
from engine.storage.files import Files, SupersededError
from engine.storage.indexing import Indexes, IndexStatus
from engine.storage.layout import Layout
from engine.storage.ledger import ROW_COLUMNS
from engine.storage.publishing import newest_copy
from engine.storage.records import StoredSpace
from engine.storage.sampling import Sampling
from engine.storage.snapshot import Hits, Snapshot, members
from engine.storage.transcripts import Transcripts
from engine.storage.tuning import Tuning
from engine.storage.verify import (
    StoreProblem,
    verify_folder,
    verify_parts,
    verify_transcripts,
    verify_videos,
)
from engine.storage.view import View, Views

_TRIES = 5  # for a reader, while a writer replaces what it reads

_BY_PART = (
    "SELECT f.part_id, f.video_id, v.name, f.frame, f.seconds, f.picture, f.strategy, f.reuse_rate,"
    " f.drift, f.exact FROM stored_frames f JOIN videos v USING (video_id) WHERE f.space_id = ?"
    " ORDER BY f.row_id"
)


class Reader:
    """Rows, searches and their proof; its methods may be called from any thread."""

    def __init__(
        self, layout: Layout, database: Database, tuning: Tuning, reached: Reached
    ) -> None:
        self.layout = layout
        self.catalog = Catalog(database, self._removed)
        self.transcripts = Transcripts(layout, database, reached)
        self._database = database
        self._files = Files(layout, database, reached)
        self._ledger = self._files.ledger
        self._indexes = Indexes(database, layout, self._files, tuning, reached)
        self._views = Views(database, self._snapshot)
        self._spaces: dict[str, StoredSpace] = {}

    def _removed(self, video_ids: Sequence[int]) -> None:
        raise AssertionError(f"a reader cannot remove {video_ids}")

    @property
    def read_only(self) -> bool:
        """Whether this is a published copy, which nothing can change."""
        return self._database.read_only

    def rows_by_part(self, space_key: str) -> tuple[list[Path], pa.Table]:
        """Return the part files of a space that hold valid vectors, and which rows of each do.

        A row's vector is valid in one part alone: what others have of it was superseded.
        """
        rows = self._database.table(_BY_PART, [self._space(space_key).space_id])
        told = self._database.all(
            "SELECT part_id, path FROM parts WHERE space_id = ? ORDER BY part_id",
            [self._space(space_key).space_id],
        )
        needed = set(rows.column("part_id").unique().to_pylist())
        return [self.layout.root / path for part_id, path in told if part_id in needed], rows

    def view(self, space_key: str, *, vectors: bool = True) -> View:
        """Return the rows, vectors and videos of a space as they are now, for one statement.

        Without `vectors`, what the catalog says; these are then not read unless they are loaded.
        """
        space = self._space(space_key)
        loaded = self._indexes.has(space.space_id) or bool(self._files.unreadable)
        return self._views.view(space, vectors=vectors or loaded)

    def rows(
        self,
        space_key: str,
        video_ids: Sequence[int] | None = None,
        columns: Sequence[str] = ROW_COLUMNS,
        *,
        within: tuple[float, float] | None = None,
    ) -> pa.Table:
        """Return the seen rows by row id, of all seconds or of those in `[start, stop)`.

        Columns: row_id, video_id, frame, seconds, picture, strategy, reuse_rate, drift, exact and,
        only when asked for, embedding (float16).
        """
        space = self._space(space_key)
        for name in columns:
            if name not in (*ROW_COLUMNS, "embedding"):
                raise UsageError(unknown("column", name, (*ROW_COLUMNS, "embedding")))
        if "embedding" not in columns:
            return self._ledger.rows(space.space_id, video_ids, columns, within)
        table = self._ledger.rows(space.space_id, video_ids, ROW_COLUMNS, within)
        snapshot = self._snapshot(space)
        # rows that come or go in between are left out
        table = table.filter(pa.array(snapshot.has(table.column("row_id").to_numpy())))
        found = snapshot.vectors(table.column("row_id").to_numpy())
        return table.append_column("embedding", vector_lists(found)).select(list(columns))

    def bytes_per_row(self, space_key: str) -> float | None:
        """Return what a stored row of a space takes in Parquet files, None where there is none."""
        parts = self._ledger.parts(space_id=self._space(space_key).space_id)
        rows = sum(part.num_rows for part in parts)
        return sum(part.size_bytes for part in parts) / rows if rows else None

    def vectors(self, space_key: str, row_ids: np.ndarray) -> np.ndarray:
        """Return the vectors of rows in the order given: float32 `[n, E]`."""
        return self._snapshot(self._space(space_key)).vectors(np.asarray(row_ids, np.int64))

    def search(
        self,
        space_key: str,
        query: np.ndarray,
        k: int,
        *,
        allowed: np.ndarray | None = None,
        exact: bool = False,
    ) -> Hits:
        """Return the `k` nearest (allowed) rows to a unit vector; never fewer while rows remain.

        Above `Tuning.flat_rows` rows the index is approximate unless the search shall be `exact`,
        which looks at every row; `Hits.exact` and `Hits.index` say what was done.
        """
        if k < 1:
            raise UsageError(f"cannot search for {k} rows; allowed: 1 or more")
        space = self._space(space_key)
        wanted = None if allowed is None else _sorted_ids(allowed)
        snapshot = self._snapshot(space)
        return snapshot.search(_query(query, space), k, snapshot.among(wanted), exact=exact)

    def scores(self, space_key: str, query: np.ndarray, row_ids: np.ndarray | None = None) -> Hits:
        """Return the exact score of every row, of those given if any, by falling score."""
        space = self._space(space_key)
        wanted = None if row_ids is None else _sorted_ids(row_ids)
        snapshot = self._snapshot(space)
        return snapshot.scores(_query(query, space), snapshot.among(wanted))

    def load_index(self, space_key: str) -> None:
        """Load the index of a space now rather than with the first search."""
        self._snapshot(self._space(space_key))

    def index_status_of(self, space_key: str) -> IndexStatus:
        """Return the state of one space's index."""
        return self._indexes.status(self._space(space_key))

    def index_status(self) -> list[IndexStatus]:
        """Return the state of every space's index."""
        return [self._indexes.status(space) for space in self.catalog.spaces()]

    def verify(self, video_id: int | None = None) -> list[StoreProblem]:
        """Return everything that is not as it should be, of one video or of the whole folder.

        Changes nothing and locks nothing: a writer may go on meanwhile.
        """
        for _ in range(_TRIES):
            problems = self._problems(video_id)
            if not (problems and self._files.superseded):
                break
            self._move_on()  # what is missed may only have been replaced
        return problems

    def _problems(self, video_id: int | None) -> list[StoreProblem]:
        if video_id is not None:
            self.catalog.require(video_id)
        chosen = None if video_id is None else [video_id]
        problems = list(verify_videos(self.catalog, self._database, chosen))
        problems += verify_parts(self._files, self.layout.root, video_id)
        problems += verify_transcripts(self.transcripts, video_id)
        if video_id is None:
            problems += verify_folder(
                self.catalog, self._files, self.layout, strays=not self.read_only
            )
        return problems

    def lacking(
        self,
        space_key: str,
        view: View,
        video_ids: np.ndarray | None,
        most: int,
        unread: Mapping[int, str] = MappingProxyType({}),
    ) -> Lacking:
        """Return which videos, of some (rising) or of all, give fewer rows than they should.

        `unread` could not be read just now, for these reasons.
        What is known of at most `most` is read, and of all once a view: a query asks each time.
        """
        space_id, unreadable = self._space(space_key).space_id, sorted(self._files.unreadable)
        bad = view.remembered(
            ("damaged", *unreadable),
            lambda: np.array(damaged(self._database, space_id, unreadable), np.int64),
        )
        found = np.union1d(view.unfinished, bad) if len(bad) else view.unfinished
        found = np.union1d(found, np.array([*unread], np.int64)) if unread else found
        if video_ids is not None:
            found = found[members(found, video_ids)]
        first = found[:most].tolist()
        if not first:
            return Lacking(0, [])
        known = completeness(self._database, space_id, video_ids=first, unreadable=unreadable)
        told = [replace(item, reason=unread.get(item.video_id, item.reason)) for item in known]
        rest = [item for item in told if item.lacks_rows or item.video_id in unread]
        return Lacking(len(found), rest)

    def embedded_spans(
        self,
        video_id: int,
        space_key: str,
        sampling: Sampling,
        strategies: Sequence[str] | None = None,
    ) -> list[tuple[float, float]]:
        """Return the stretches of a video that are embedded, by some strategies or any.

        Its parts are read first, so that what is damaged does not count.
        """
        space = self._space(space_key)
        if not self._ledger.spans(video_id, space.space_id, sampling, strategies):
            return []
        for part in self._ledger.parts(video_id=video_id, space_id=space.space_id):
            self._files.check(part)
        return self._ledger.spans(video_id, space.space_id, sampling, strategies)

    def embedded_frames(
        self, video_id: int, space_key: str, sampling: Sampling, strategy: str | None = None
    ) -> int:
        """Return the rows of a video at a sampling, seen or not yet seen."""
        space_id = self._space(space_key).space_id
        return self._ledger.frames(video_id, space_id, sampling, strategy)

    def rows_state(self, space_key: str, video_id: int) -> tuple[int, int]:
        """Return what is another value whenever the rows of a video or their vectors change."""
        return self._ledger.state(self._space(space_key).space_id, video_id)

    def completeness(
        self, space_key: str, video_ids: Sequence[int] | None = None
    ) -> list[VideoCompleteness]:
        """Return how much of each video is embedded in a space."""
        return completeness(
            self._database,
            self._space(space_key).space_id,
            video_ids=video_ids,
            unreadable=list(self._files.unreadable),
        )

    def states(self, space_key: str) -> dict[State, int]:
        """Return how many videos are how far in a space."""
        space_id = self._space(space_key).space_id
        return states(self._database, space_id, list(self._files.unreadable))

    def _snapshot(self, space: StoredSpace) -> Snapshot:
        """Return what a search sees; a reader whose files have gone moves on to the next copy."""
        for _ in range(_TRIES):
            try:
                return self._indexes.snapshot(space)
            except SupersededError:
                self._move_on()
        return self._indexes.snapshot(space)

    def _move_on(self) -> None:
        newest = newest_copy(self.layout)
        if newest is not None:
            self._database.move_to(newest)
        self._spaces.clear()
        self._files.unreadable.clear()
        self._indexes.forget_all()
        self._views.forget_all()

    def _space(self, key: str) -> StoredSpace:
        if key not in self._spaces:
            self._spaces[key] = self.catalog.space(key)
        return self._spaces[key]


def _sorted_ids(row_ids: np.ndarray) -> np.ndarray:
    """Return row ids in rising order, each once; that they mostly come so is looked at first."""
    ids = np.asarray(row_ids, np.int64)
    return ids if bool((ids[1:] > ids[:-1]).all()) else np.unique(ids)


def _query(query: np.ndarray, space: StoredSpace) -> np.ndarray:
    vector = np.ascontiguousarray(query, np.float32)
    if vector.shape != (space.dimension,):
        raise UsageError(
            f"expected a query [{space.dimension}] for space {space.key}, got {list(query.shape)}"
        )
    check_unit(vector)
    return vector
