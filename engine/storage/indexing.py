"""The index of each space kept in step with its rows: loaded, followed, merged, built, saved."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import StoreError
from engine.storage import vectors
from engine.storage.database import Database
from engine.storage.durable import (
    Reached,
    checksum,
    draft,
    drop_private,
    private_file,
    publish,
)
from engine.storage.files import Files
from engine.storage.index_file import DamagedIndexError
from engine.storage.inverted_writer import lists_for
from engine.storage.layout import Layout
from engine.storage.records import SavedIndex, StoredSpace
from engine.storage.snapshot import Snapshot
from engine.storage.tuning import Tuning
from engine.storage.vectors import Base

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """The state of one space's index."""

    space_key: str
    kind: str  # such as "flat" or "ivf2000,fp16"; "none" before the first build
    num_rows: int  # rows that a search sees
    num_indexed: int
    num_delta: int  # rows searched exactly until they are merged
    num_tombstones: int
    state: str  # "ready", or what is the matter and what happens next


@dataclass(frozen=True, slots=True)
class IndexDraft:
    """An index file under the name that it was written under, and the one that it is to have."""

    temporary: Path
    path: Path | None  # None: it is a reader's own

    def rename(self, path: Path) -> None:
        """Give the file another name."""
        self.temporary.replace(path)

    def drop(self) -> None:
        """Keep the file no longer."""
        if self.path is None:
            drop_private(self.temporary)
        else:
            self.temporary.unlink()


class Indexes:
    """The snapshots that searches use: read without a lock, changed under the writers' lock."""

    def __init__(
        self,
        database: Database,
        layout: Layout,
        files: Files,
        tuning: Tuning,
        reached: Reached,
    ) -> None:
        self._database = database
        self._writing = database.writing
        self._read_only = database.read_only
        self._reached = reached
        self._layout = layout
        self._ledger = files.ledger
        self._files = files
        self._tuning = tuning
        self._snapshots: dict[int, Snapshot] = {}
        self._damaged: set[Path] = set()  # index files
        self._condemned = files.condemned  # parts, when the snapshots were loaded

    def has(self, space_id: int) -> bool:
        """Whether the vectors of a space are loaded."""
        return space_id in self._snapshots

    def snapshot(self, space: StoredSpace) -> Snapshot:
        """Return what a search of a space sees now, loading and catching up on first use."""
        held = self._snapshots.get(space.space_id)
        if held is not None and self._condemned == self._files.condemned:
            return held
        with self._writing:
            while True:
                if self._condemned != self._files.condemned:  # rows are seen elsewhere now
                    self._snapshots.clear()
                    self._condemned = self._files.condemned
                if space.space_id not in self._snapshots:
                    self._snapshots[space.space_id] = self._load(space)
                if self._condemned == self._files.condemned:
                    return self._snapshots[space.space_id]

    def follow(self, space: StoredSpace, change: Callable[[Snapshot], Snapshot]) -> None:
        """Apply a change that has been committed; the caller holds the writers' lock."""
        held = self._snapshots.get(space.space_id)
        if held is None:
            return
        try:
            self._snapshots[space.space_id] = changed = change(held)
            if changed.wants_merge:
                self._snapshots[space.space_id] = self._merge(space, changed)
        except BaseException:
            # the rows are committed: the next use loads what the catalog says
            self.forget(space.space_id)
            raise

    def forget_videos(self, video_ids: list[int]) -> None:
        """Leave out videos that have been removed; the caller holds the writers' lock."""
        for space_id, held in list(self._snapshots.items()):
            self._snapshots[space_id] = held.without_videos(video_ids)

    def forget(self, space_id: int) -> None:
        """Drop what is loaded of a space."""
        self._snapshots.pop(space_id, None)

    def forget_all(self) -> None:
        """Drop what is loaded of every space."""
        self._snapshots.clear()

    def build(self, space: StoredSpace) -> Snapshot:
        """Build the index of a space from its parts, save it and use it from now on.

        Others write while it is built, unless the caller holds the lock; what they have changed is
        caught up with in the end.
        """
        with self._writing:
            version, seen = self._ledger.version(space.space_id), self._ledger.seen(space.space_id)
            changes = self._database.changes
        written = None
        if len(seen):
            batches = partial(self._files.vectors, space.space_id, seen)
            written = self._write(
                space,
                lambda path: vectors.build(space.dimension, len(seen), batches, self._tuning, path),
            )
        with self._writing:
            snapshot = Snapshot(space.dimension, self._tuning)
            unchanged = self._database.changes == changes
            if not unchanged and not self._ledger.has_space(space.space_id):
                if written is not None:
                    written.drop()
                return snapshot
            if written is None:
                self._drop_saved(space)
            else:
                snapshot = replace(snapshot, base=self._save(space, written, version))
            self._snapshots[space.space_id] = snapshot if unchanged else self._load(space)
            return self._snapshots[space.space_id]

    def status(self, space: StoredSpace) -> IndexStatus:
        """Return the state of a space's index as the catalog has it, loading nothing."""
        saved, num_rows = self._ledger.index(space.space_id), self._ledger.count(space.space_id)
        if saved is None:
            return IndexStatus(space.key, "none", num_rows, 0, num_rows, 0, "ready")
        delta = self._ledger.count(space.space_id, after=saved.version)
        indexed = num_rows - delta
        state = "ready"
        if not (self._layout.root / saved.path).exists():
            state = "file missing; the next search builds it afresh"
        dead = saved.num_rows - indexed
        return IndexStatus(space.key, saved.kind, num_rows, indexed, delta, dead, state)

    def _load(self, space: StoredSpace) -> Snapshot:
        """Return the saved index with what has changed since; a large change is merged at once."""
        snapshot = Snapshot(space.dimension, self._tuning)
        saved = self._ledger.index(space.space_id)
        base = None if saved is None else self._read(space, saved)
        if saved is None or base is None:
            fresh = self._ledger.seen(space.space_id)
        else:
            fresh = self._ledger.seen(space.space_id, after=saved.version)
            count = self._ledger.count(space.space_id)
            if count - len(fresh) != len(base.row_ids):  # some of its rows are not seen any more
                seen = self._ledger.seen(space.space_id)
                merged = seen.filter(pc.less_equal(seen.column("version"), saved.version))
                base = base.only(np.isin(base.row_ids, merged.column("row_id").to_numpy()))
                known = pc.is_in(seen.column("row_id"), pa.array(base.row_ids))
                fresh = seen.filter(pc.invert(known))
            snapshot = replace(snapshot, base=base)
        if len(fresh) > max(snapshot.num_rows, self._tuning.delta_rows):
            return self.build(space)
        found = list(self._files.vectors(space.space_id, fresh))
        if found:
            snapshot = snapshot.adding(
                np.concatenate([ids for ids, _ in found]),
                np.concatenate([rows for _, rows in found]),
            )
        return self._merge(space, snapshot) if snapshot.wants_merge else snapshot

    def _read(self, space: StoredSpace, saved: SavedIndex) -> Base | None:
        """Return the saved index, or None for a damaged one, which is then forgotten."""
        path = self._layout.root / saved.path
        try:
            if path in self._damaged:
                raise DamagedIndexError(path)
            return vectors.load(path, partial(self._found_damaged, space, path))
        except (OSError, StoreError) as error:
            reason = str(error)
        _log.warning("index of space %s is built afresh: %s", space.key, reason)
        self._drop_saved(space)
        return None

    def _merge(self, space: StoredSpace, snapshot: Snapshot) -> Snapshot:
        """Move the delta into the index: a copy with more rows, or a new one where that is due."""
        base = snapshot.base
        if base is None or self._wants_build(base, snapshot.num_rows):
            return self.build(space)
        extend = partial(vectors.extend, base)
        row_ids = np.concatenate([block.row_ids for block in snapshot.delta])
        found = np.concatenate([block.vectors for block in snapshot.delta])
        try:
            written = self._write(space, lambda path: extend(row_ids, found, path))
        except DamagedIndexError as error:
            _log.warning("index of space %s is built afresh: %s", space.key, error)
            return self.build(space)
        base = self._save(space, written, self._ledger.version(space.space_id))
        return replace(snapshot, base=base, delta=())

    def _wants_build(self, base: Base, num_rows: int) -> bool:
        """Another type is due, the lists have become long, or many positions are tombstones."""
        lists, due = base.index.num_lists, lists_for(num_rows)
        outgrown = due > 2 * lists if lists else num_rows > self._tuning.flat_rows
        coded = num_rows > self._tuning.coded_rows and not base.index.is_coded
        return outgrown or coded or 4 * (base.index.size - len(base.row_ids)) > base.index.size

    def _write(self, space: StoredSpace, fill: Callable[[Path], None]) -> IndexDraft:
        """Let an index be written that nothing rests on yet; a reader's is for itself alone."""
        if self._read_only:
            return IndexDraft(private_file(fill), None)
        path = self._layout.index(space.space_id, self._ledger.draw("file_ids"))
        temporary = path.with_name(f".{path.name}.new.tmp")
        draft(path, temporary, fill)
        return IndexDraft(temporary, path)

    def _save(self, space: StoredSpace, written: IndexDraft, version: int) -> Base:
        """Let an index that was written be that of its space, and map it."""
        path = written.path
        if path is None:
            base = vectors.load(written.temporary)
            written.drop()  # what is mapped stays
            return base
        publish(path, written.rename, what="index", reached=self._reached)
        base = vectors.load(path, partial(self._found_damaged, space, path))
        saved = SavedIndex(
            space.space_id,
            self._layout.relative(path),
            checksum(path),
            base.index.kind,
            base.index.size,
            version,
        )
        self._ledger.commit_index(saved)
        self._reached("index: committed")
        return base

    def _found_damaged(self, space: StoredSpace, path: Path) -> None:
        """Use an index file no more: a search has found it damaged."""
        _log.warning("the index %s of space %s is damaged", path, space.key)
        with self._writing:
            self._damaged.add(path)
            self.forget(space.space_id)

    def _drop_saved(self, space: StoredSpace) -> None:
        if not self._read_only and self._ledger.index(space.space_id) is not None:
            self._ledger.commit_no_index(space.space_id)
