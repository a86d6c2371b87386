"""The data folder: Parquet parts (the truth), the DuckDB catalog and the FAISS index (derived)."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa

from engine.errors import NotFoundError, StoreError, UsageError, unknown
from engine.storage.catalog import Catalog
from engine.storage.compact import compact, compact_video, wants_compaction
from engine.storage.database import Database
from engine.storage.durable import Reached, make_folder
from engine.storage.embeddings import Rows as Rows
from engine.storage.embeddings import check_unit, to_table, vector_lists, vectors_of
from engine.storage.files import Files
from engine.storage.indexing import Indexes
from engine.storage.indexing import IndexStatus as IndexStatus
from engine.storage.layout import Layout
from engine.storage.ledger import ROW_COLUMNS, Ledger, SegmentKey, row_ids_of
from engine.storage.lock import Lock
from engine.storage.records import StoredSpace
from engine.storage.snapshot import Hits as Hits
from engine.storage.snapshot import Snapshot
from engine.storage.vectors import Tuning
from engine.storage.verify import Problem as Problem
from engine.storage.verify import verify_folder, verify_video


class Store:
    """One data folder, held by one writing process; its methods may be called from any thread."""

    def __init__(
        self, layout: Layout, lock: Lock, database: Database, tuning: Tuning, reached: Reached
    ) -> None:
        self.layout = layout
        self.catalog = Catalog(database, self._removed)
        self._lock = lock
        self._database = database
        self._ledger = Ledger(database)
        self._files = Files(layout, self._ledger, reached)
        self._indexes = Indexes(database, layout, self._files, tuning, reached)
        self._reached = reached
        self._spaces: dict[str, StoredSpace] = {}

    @classmethod
    def open(
        cls,
        root: Path,
        *,
        tuning: Tuning | None = None,
        reached: Reached = lambda _: None,
    ) -> Self:
        """Open or create a data folder, sweeping what an unfinished run left behind.

        Raises StoreError naming pid, command and URL of the process that holds it, if one does.
        `reached` is told the name of every commit point as it is passed.
        """
        layout = Layout(root.absolute())
        make_folder(layout.root)
        lock = Lock(layout.root)
        try:
            if not layout.catalog.exists() and any(layout.parts.rglob("*.parquet")):
                raise StoreError(f"the catalog {layout.catalog} is gone, but {layout.parts} is not")
            database = Database(layout.catalog)
        except BaseException:
            lock.release()
            raise
        store = cls(layout, lock, database, tuning or Tuning(), reached)
        store._files.sweep()
        store._ledger.commit_interrupted()
        return store

    def close(self) -> None:
        """Give the folder back; the store is unusable afterwards."""
        with self._database.writing:
            self._database.close()
            self._lock.release()

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
        """Tell other processes that this one serves at `url`; see `lock.holder(root)`."""
        self._lock.announce(url)

    # writing

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
        space = self._space(space_key)
        _check_dimension(rows.embeddings, space)
        key = SegmentKey(video_id, space.space_id, sampling, strategy)
        with self._database.writing:
            self.catalog.require(video_id)
            if stretch in self._ledger.committed(key):
                return
            table = to_table(rows, strategy)
            part = self._files.publish(table, key, "stretch") if len(table) else None
            seen = self._ledger.commit_stretch(
                key, (stretch, start_seconds, stop_seconds), table, part
            )
            self._reached("stretch: committed")
            self._follow(space, video_id, table, seen)

    def finish_segment(
        self, video_id: int, space_key: str, sampling: str, strategy: str, num_frames: int
    ) -> None:
        """Say that all stretches are there and how many frames the sampling gives in all.

        From now on queries see this sampling; rows of any other sampling of the video go.
        """
        space = self._space(space_key)
        key = SegmentKey(video_id, space.space_id, sampling, strategy)
        with self._database.writing:
            self.catalog.require(video_id)
            parts = self._ledger.parts(video_id=video_id, space_id=space.space_id)
            switching = self._ledger.shown_sampling(video_id, space.space_id) != sampling
            hidden = [p for p in parts if switching and p.sampling == sampling]
            tables = [(part, self._files.read(part)) for part in hidden]
            gone = self._ledger.commit_finish(key, num_frames, tables)
            self._reached("finish: committed")
            self._files.discard(gone)
            if switching:
                self._indexes.follow(space, lambda held: self._switched(held, space, video_id))

    def _switched(self, held: Snapshot, space: StoredSpace, video_id: int) -> Snapshot:
        """Return a snapshot in which a video has the rows that the ledger says."""
        found = list(
            self._files.vectors(space.space_id, self._ledger.seen(space.space_id, video_id))
        )
        rest = held.without_videos([video_id])
        if not found:
            return rest
        row_ids = np.concatenate([ids for ids, _ in found])
        return rest.adding(row_ids, np.concatenate([rows for _, rows in found]))

    def _follow(
        self, space: StoredSpace, video_id: int, table: pa.Table, frames: np.ndarray
    ) -> None:
        chosen = np.isin(table.column("frame").to_numpy(), frames)
        row_ids = row_ids_of(video_id, table.column("frame").to_numpy()[chosen])
        vectors = vectors_of(table)[chosen]
        self._indexes.follow(space, lambda held: held.adding(row_ids, vectors))

    def committed_stretches(
        self, video_id: int, space_key: str, sampling: str, strategy: str
    ) -> set[int]:
        """Return the stretches that need not be encoded again."""
        space = self._space(space_key)
        return self._ledger.committed(SegmentKey(video_id, space.space_id, sampling, strategy))

    def supersede(
        self, space_key: str, video_id: int, frames: np.ndarray, embeddings: np.ndarray
    ) -> None:
        """Put exact vectors in the place of those seen so far (strategy dense, drift and reuse 0).

        The frames must be stored; durable on return.
        """
        space = self._space(space_key)
        _check_dimension(embeddings, space)
        check_unit(embeddings)
        order = np.argsort(frames)
        frames, embeddings = np.asarray(frames, np.int32)[order], embeddings[order]
        with self._database.writing:
            stored = self._ledger.rows(space.space_id, [video_id], ROW_COLUMNS)
            known = stored.filter(pa.array(np.isin(stored.column("frame").to_numpy(), frames)))
            if len(known) != len(frames):
                raise NotFoundError(
                    f"{len(frames)} frames given to supersede in video {video_id},"
                    f" {len(known)} of them are stored"
                )
            rows = Rows(
                frames,
                known.column("seconds").to_numpy(),
                known.column("picture").to_pylist(),
                embeddings,
                np.zeros(len(frames), np.float32),
                np.zeros(len(frames), np.float32),
                np.ones(len(frames), bool),
            )
            if not len(frames):
                return
            sampling = self._ledger.shown_sampling(video_id, space.space_id)
            assert sampling is not None
            key = SegmentKey(video_id, space.space_id, sampling, "dense")
            table = to_table(rows, "dense")
            part = self._files.publish(table, key, "overlay")
            self._ledger.commit_overlay(part, table)
            self._reached("overlay: committed")
            self._follow(space, video_id, table, frames)
            if wants_compaction(self._files, space.space_id, video_id):
                compact_video(self._files, space.space_id, video_id, self._reached)

    def remove_space(self, space_key: str) -> None:
        """Remove an embedding space with all of its rows; no space is current if it was."""
        space = self._space(space_key)
        with self._database.writing:
            parts = self._ledger.parts(space_id=space.space_id)
            saved = self._ledger.index(space.space_id)
            self._ledger.commit_no_space(space.space_id)
            self._reached("remove: committed")
            self._spaces.pop(space_key)
            self._indexes.forget(space.space_id)
            self._files.discard(parts)
            if saved is not None:
                (self.layout.root / saved.path).unlink(missing_ok=True)

    def _removed(self, video_ids: Sequence[int]) -> None:
        """Follow the catalog: the rows of these videos are gone, so their files and entries go."""
        self._reached("remove: committed")
        self._indexes.forget_videos(list(video_ids))
        self._files.discard_videos(video_ids)

    # reading

    def rows(
        self,
        space_key: str,
        video_ids: Sequence[int] | None = None,
        columns: Sequence[str] = ROW_COLUMNS,
    ) -> pa.Table:
        """Return the seen rows by row id.

        Columns: row_id, video_id, frame, seconds, picture, strategy, reuse_rate, drift, exact and,
        only when asked for, embedding (float16).
        """
        space = self._space(space_key)
        for name in columns:
            if name not in (*ROW_COLUMNS, "embedding"):
                raise UsageError(unknown("column", name, (*ROW_COLUMNS, "embedding")))
        if "embedding" not in columns:
            return self._ledger.rows(space.space_id, video_ids, columns)
        table = self._ledger.rows(space.space_id, video_ids, ROW_COLUMNS)
        snapshot = self._indexes.snapshot(space)
        # rows that come or go in between are left out
        table = table.filter(pa.array(snapshot.has(table.column("row_id").to_numpy())))
        found = snapshot.vectors(table.column("row_id").to_numpy())
        return table.append_column("embedding", vector_lists(found)).select(list(columns))

    def vectors(self, space_key: str, row_ids: np.ndarray) -> np.ndarray:
        """Return the vectors of rows in the order given: float32 `[n, E]`."""
        return self._indexes.snapshot(self._space(space_key)).vectors(np.asarray(row_ids, np.int64))

    def search(
        self, space_key: str, query: np.ndarray, k: int, *, allowed: np.ndarray | None = None
    ) -> Hits:
        """Return the `k` nearest (allowed) rows to a unit vector; never fewer while rows remain.

        The index is approximate above `Tuning.flat_rows` rows; `Hits.index` says what was done.
        """
        if k < 1:
            raise UsageError(f"cannot search for {k} rows; allowed: 1 or more")
        space = self._space(space_key)
        wanted = None if allowed is None else _sorted_ids(allowed)
        return self._indexes.snapshot(space).search(_query(query, space), k, wanted)

    def scores(self, space_key: str, query: np.ndarray, row_ids: np.ndarray | None = None) -> Hits:
        """Return the exact score of every row, of those given if any, by falling score."""
        space = self._space(space_key)
        wanted = None if row_ids is None else _sorted_ids(row_ids)
        return self._indexes.snapshot(space).scores(_query(query, space), wanted)

    # upkeep

    def load_index(self, space_key: str) -> None:
        """Load the index of a space now rather than with the first search."""
        self._indexes.snapshot(self._space(space_key))

    def build_index(self, space_key: str) -> IndexStatus:
        """Build a space's index afresh from its parts and save it."""
        space = self._space(space_key)
        self._indexes.build(space)
        return self._indexes.status(space)

    def index_status(self) -> list[IndexStatus]:
        """Return the state of every space's index."""
        return [self._indexes.status(space) for space in self.catalog.spaces()]

    def compact(self) -> int:
        """Fold overlays and small parts; return how many files that saves."""
        with self._database.writing:
            spaces = self.catalog.spaces()
            return sum(compact(self._files, space.space_id, self._reached) for space in spaces)

    def verify(self, video_id: int | None = None) -> list[Problem]:
        """Return everything that is not as it should be, of one video or of the whole folder."""
        with self._database.writing:
            files, root = self._files, self.layout.root
            if video_id is not None:
                video = self.catalog.video(video_id)
                return list(verify_video(self.catalog, files, root, video))
            problems = list(verify_folder(self.catalog, files, root))
            for video in self.catalog.videos():
                problems += verify_video(self.catalog, files, root, video)
            return problems

    def _space(self, key: str) -> StoredSpace:
        if key not in self._spaces:
            self._spaces[key] = self.catalog.space(key)
        return self._spaces[key]


def _check_dimension(embeddings: np.ndarray, space: StoredSpace) -> None:
    if embeddings.ndim != 2 or embeddings.shape[1] != space.dimension:
        raise UsageError(
            f"expected embeddings [n, {space.dimension}] for space {space.key},"
            f" got {list(embeddings.shape)}"
        )


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
