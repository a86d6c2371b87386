"""The data folder: Parquet parts (the truth), the DuckDB catalog and the FAISS index (derived)."""

import logging
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Self

import numpy as np
import pyarrow as pa

from engine.closing import Closing
from engine.errors import NotFoundError, StoreError, UsageError
from engine.storage.apart import Blank as Blank
from engine.storage.apart import WrittenPart as WrittenPart
from engine.storage.changes import row_ids_of
from engine.storage.compact import compact, compact_video, savable, wants_compaction
from engine.storage.completeness import VideoCompleteness as VideoCompleteness
from engine.storage.database import REPAIR, Database
from engine.storage.durable import Reached, make_folder
from engine.storage.embeddings import Rows as Rows
from engine.storage.embeddings import check_unit, to_table, vectors_of
from engine.storage.indexing import IndexStatus as IndexStatus
from engine.storage.known import KnownModels
from engine.storage.layout import Layout
from engine.storage.ledger import ROW_COLUMNS
from engine.storage.lock import Lock
from engine.storage.parts import DamagedPartError, Piece
from engine.storage.publishing import copy_damage, is_published, open_newest, publish_copy
from engine.storage.reader import Reader
from engine.storage.records import Holding, Part, SegmentKey, StoredSpace, VideoEnd, WholeVideo
from engine.storage.recover import recover_last
from engine.storage.restoring import must_be_finished
from engine.storage.sampling import Sampling
from engine.storage.snapshot import Hits as Hits
from engine.storage.snapshot import Snapshot
from engine.storage.tuning import Tuning
from engine.storage.verify import StoreProblem as StoreProblem

_log = logging.getLogger(__name__)
PUBLISH_SECONDS = 10.0  # the least time between two copies for readers while work goes on
_RENEW_CHANGES = 500  # of the catalog, some 30 ingests: DuckDB holds some 2 MiB more by then
_PUBLISH_SHARE = 20  # and so many times longer than the last copy took


class Store(Reader, Closing):
    """One data folder, held by one writing process; its methods may be called from any thread."""

    def __init__(
        self,
        layout: Layout,
        lock: Lock | None,
        database: Database,
        tuning: Tuning,
        reached: Reached,
    ) -> None:
        super().__init__(layout, database, tuning, reached)
        self.models = KnownModels(database)
        self._lock = lock
        self._reached = reached
        self._settled, self._settle_at = database.changes, 0.0
        self._renewed = database.changes

    @classmethod
    def open(
        cls,
        root: Path,
        *,
        tuning: Tuning | None = None,
        reached: Reached = lambda _: None,
    ) -> Self:
        """Open or create a data folder, taking in what an interrupted run had finished.

        Raises StoreError naming pid, command and URL of the process that holds it, if one does;
        and where files and catalog do not belong together. Nothing finished is ever deleted.
        `reached` is told the name of every commit point as it is passed.
        """
        layout = Layout(root.absolute())
        must_be_finished(layout)
        make_folder(layout.root)
        lock = Lock(layout.root)
        try:
            if not layout.catalog.exists() and _holds_anything(layout):
                raise StoreError(
                    f"the catalog {layout.catalog} is gone, but not its files; {REPAIR}"
                )
            published = is_published(layout)
            if not published and (damage := copy_damage(layout)):
                _log.warning("%s: it is published anew", damage)
            database = Database(layout.catalog)
        except BaseException:
            lock.release()
            raise
        store = cls(layout, lock, database, tuning or Tuning(), reached)
        try:
            recover_last(layout, database, store._files)
            store._ledger.commit_interrupted()
            if not published or database.changes:
                # what a killed process had committed is for readers and backups too
                store._settled = -1
                store.settle()
            else:  # killed after it had published: readers need none of these
                store._files.discard()
        except BaseException:
            store._release()
            raise
        return store

    @classmethod
    def read(cls, root: Path, *, tuning: Tuning | None = None) -> Self:
        """Open what was last published, beside a writing process and on a read-only disk."""
        layout = Layout(root.absolute())
        must_be_finished(layout)
        database = open_newest(layout)
        return cls(layout, None, database, tuning or Tuning(), lambda _: None)

    def settle(self, *, now: bool = True) -> None:
        """Let readers see all that is committed, and delete what nothing needs any more.

        Unless `now`, only where the last time was long ago. The log may be lost from then on.
        """
        with self._database.writing:
            changes = self._database.changes
            if changes == self._settled or not (now or monotonic() >= self._settle_at):
                return
            started = monotonic()
            if publish_copy(self.layout, self._database, self._reached):
                self._settled = changes
                self._files.discard()
            if changes >= self._renewed + _RENEW_CHANGES and self._database.renew():
                self._renewed = changes
            took = monotonic() - started
            self._settle_at = monotonic() + max(PUBLISH_SECONDS, _PUBLISH_SHARE * took)

    def close(self) -> None:
        """Give the folder back; the store is unusable afterwards."""
        with self._database.writing:
            try:
                if self._lock is not None:
                    self.settle()
                    self.settle()  # once more where files were deleted, so that both are the same
            finally:
                self._release()

    def _release(self) -> None:
        self._files.close()
        self._database.close()
        if self._lock is not None:
            self._lock.release()

    def announce(self, url: str) -> None:
        """Tell other processes that this one serves at `url`; see `lock.holder(root)`."""
        assert self._lock is not None
        self._lock.announce(url)

    # writing

    def write_part(
        self,
        video_id: int,
        space_key: str,
        sampling: Sampling,
        strategy: str,
        stretch: int,
        start_seconds: float,
        stop_seconds: float,
        rows: Rows,
        ending: Callable[[], WholeVideo] | None = None,
    ) -> bool:
        """Commit one stretch, durably on return; a stretch that is there already is left alone.

        Rows are seen at once where the video has no rows of another sampling; otherwise once
        `finish_segment` has been called. At one sampling several strategies may lie together: of
        two vectors of one frame the exact one is seen, of two of a kind the newer.

        Where the stretch is all of its video, `ending`, asked when its file is there, says so in
        the same commit. Returns whether that was done: it is not where anything is stored already.
        """
        space = self._space(space_key)
        _check_dimension(rows.embeddings, space)
        key = SegmentKey(video_id, space.space_id, sampling, strategy)
        with self._database.writing:
            first = video_id in self._database.entered
            if not first:
                self.catalog.require(video_id)
                first = self._ledger.has_nothing(video_id, space.space_id)
            if not first and stretch in self._ledger.committed(key):
                return False
            made, part = self._files.beside(to_table, rows, video_id, strategy).result, None
            if len(rows.frame):
                piece = Piece(strategy, stretch, start_seconds, stop_seconds, len(rows.frame))
                held = [Holding(video_id, sampling, strategy, stretch)]
                part = self._files.publish(made, space.space_id, "stretch", held, piece)
            table, span = made(), (stretch, start_seconds, stop_seconds)
            ends = ending if first and part is not None else None
            if ends and part is not None:
                seen = self._ledger.commit_first(key, span, table, part, ends())
            else:
                seen = self._ledger.commit_stretch(key, span, table, part)
            self._reached("stretch: committed")
            if ends:
                self._reached("finish: committed")
            self._follow(space, made, seen)
            self.settle(now=False)
            return ends is not None

    def blank(self, video_id: int, space_key: str, sampling: Sampling, piece: Piece) -> Blank:
        """Return what another process needs to write one stretch; see `take_part`."""
        with self._database.writing:
            self.catalog.require(video_id)
            held = Holding(video_id, sampling)
            return self._files.blank(self._space(space_key).space_id, held, piece)

    def take_part(self, written: WrittenPart, space_key: str) -> None:
        """Commit a stretch that another process has written; one that is there already goes."""
        key, space = written.key, self._space(space_key)
        part: Part | None = None
        with self._database.writing:
            self.catalog.require(key.video_id)
            if written.stretch[0] in self._ledger.committed(key):
                written.blank.draft.unlink(missing_ok=True)
                return
            if len(written.rows):
                part = self._files.take(written)
            seen = self._ledger.commit_stretch(key, written.stretch, written.rows, part)
            self._reached("stretch: committed")
            if part is not None:
                self._follow(space, partial(self._files.read, part), seen)
            self.settle(now=False)

    def finish_segment(
        self,
        video_id: int,
        space_key: str,
        sampling: Sampling,
        strategy: str,
        num_frames: int,
        end: VideoEnd | None = None,
    ) -> None:
        """Say that all stretches are there and how many frames the sampling gives in all.

        From now on queries see this sampling; rows of any other sampling of the video go. With an
        `end` the video is at it.
        """
        space = self._space(space_key)
        key = SegmentKey(video_id, space.space_id, sampling, strategy)
        with self._database.writing:
            self.catalog.require(video_id)
            shown = self._ledger.shown_sampling(video_id, space.space_id)
            switching = shown != sampling
            hidden = self._unseen(video_id, space.space_id, sampling) if switching else []
            tables = [(part, self._hidden(part, video_id)) for part in hidden]
            self._ledger.commit_finish(key, num_frames, shown, tables, end)
            self._reached("finish: committed")
            if switching:
                self._indexes.follow(space, lambda held: self._switched(held, space, video_id))

    def _unseen(self, video_id: int, space_id: int, sampling: Sampling) -> list[Part]:
        """Return the parts that hold rows of a video at a sampling which is not seen yet."""
        parts = self._ledger.parts(video_id=video_id, space_id=space_id)
        held = self._ledger.holdings([part.part_id for part in parts])
        own = (video_id, sampling)
        return [
            part
            for part in parts
            if any((item.video_id, item.sampling) == own for item in held[part.part_id])
        ]

    def _hidden(self, part: Part, video_id: int) -> pa.Table:
        """Read the rows of a video that are about to be seen."""
        table = self._files.readable(part)
        if table is None:
            raise DamagedPartError(f"{part.path} is not what was written; ingest again")
        return table.filter(pa.array(table.column("video_id").to_numpy() == video_id))

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

    def _follow(self, space: StoredSpace, whole: Callable[[], pa.Table], seen: np.ndarray) -> None:
        def change(held: Snapshot) -> Snapshot:
            table = whole()
            row_ids = row_ids_of(table)
            chosen = np.isin(row_ids, seen)
            return held.adding(row_ids[chosen], vectors_of(table)[chosen])

        self._indexes.follow(space, change)

    def committed_stretches(
        self, video_id: int, space_key: str, sampling: Sampling, strategy: str
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
            holding = Holding(video_id, sampling)
            table = to_table(rows, video_id, "dense")
            part = self._files.publish(lambda: table, space.space_id, "overlay", [holding])
            self._ledger.commit_overlay(part, table, holding)
            self._reached("overlay: committed")
            self._follow(space, lambda: table, row_ids_of(table))
            if wants_compaction(self._files, space.space_id, video_id):
                compact_video(self._files, space.space_id, video_id, self._reached)

    def remove_space(self, space_key: str) -> None:
        """Remove an embedding space with all of its rows; no space is current if it was."""
        space = self._space(space_key)
        with self._database.writing:
            self._ledger.commit_no_space(space.space_id)
            self._reached("remove: committed")
            self._spaces.pop(space_key)
            self._indexes.forget(space.space_id)
            self._views.forget(space.space_id)
            shutil.rmtree(self.layout.texts / space_key, ignore_errors=True)
            self.settle(now=False)

    def _removed(self, video_ids: Sequence[int]) -> None:
        """Follow the catalog: the rows of these videos are gone, so their files and entries go."""
        self._reached("remove: committed")
        self._indexes.forget_videos(list(video_ids))
        self._files.forget_clips(video_ids)
        self.settle(now=False)

    # upkeep

    def build_index(self, space_key: str) -> IndexStatus:
        """Build a space's index afresh from its parts and save it."""
        space = self._space(space_key)
        self._indexes.build(space)
        return self._indexes.status(space)

    def compact(self, stopped: Callable[[], bool] = lambda: False) -> int:
        """Fold overlays and small parts while others write; return how many files that saves."""
        saved = sum(
            compact(self._files, space.space_id, self._reached, stopped)
            for space in self.catalog.spaces()
        )
        self.settle()
        return saved

    def savable(self) -> int:
        """Return about how many files `compact` would save; nothing is read for that."""
        return sum(savable(self._files, space.space_id) for space in self.catalog.spaces())


def _holds_anything(layout: Layout) -> bool:
    folders = (layout.parts, layout.published)
    return any(path.is_file() for folder in folders for path in folder.rglob("*"))


def _check_dimension(embeddings: np.ndarray, space: StoredSpace) -> None:
    if embeddings.ndim != 2 or embeddings.shape[1] != space.dimension:
        raise UsageError(
            f"expected embeddings [n, {space.dimension}] for space {space.key},"
            f" got {list(embeddings.shape)}"
        )
