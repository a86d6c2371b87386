"""Which rows are stored, which file holds each, and which of them queries see."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from engine.storage.database import Database, insert, next_id, now, update
from schemas import tables

ROW_COLUMNS = (
    *("row_id", "video_id", "frame", "seconds", "picture"),
    *("strategy", "reuse_rate", "drift", "exact"),
)
_OF_A_SPACE = ("stored_frames", "parts", "stretches", "segments", "indexes", "calibration")
_STREAM = "video_id = ? AND space_id = ? AND sampling = ? AND strategy = ?"


@dataclass(frozen=True, slots=True)
class SegmentKey:
    """What a segment is found by."""

    video_id: int
    space_id: int
    sampling: str
    strategy: str


@dataclass(frozen=True, slots=True)
class Part:
    """One file and what it must be like; `path` is below the data folder."""

    part_id: int
    video_id: int
    space_id: int
    sampling: str
    kind: str
    path: str
    num_rows: int
    size_bytes: int
    checksum: str


@dataclass(frozen=True, slots=True)
class SavedIndex:
    """The index file of a space; it holds every row whose version is at most `version`."""

    space_id: int
    path: str
    checksum: str
    kind: str
    num_rows: int
    version: int


class Ledger:
    """Bookkeeping of rows; each `commit_…` is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # what is there

    def shown_sampling(self, video_id: int, space_id: int) -> str | None:
        """Return the sampling whose rows queries see, or None."""
        found = self._database.one(
            "SELECT sampling FROM segments WHERE shown AND video_id = ? AND space_id = ?",
            [video_id, space_id],
        )
        return None if found is None else str(found[0])

    def committed(self, key: SegmentKey) -> set[int]:
        """Return the numbers of a segment's stretches."""
        rows = self._database.all(f"SELECT stretch FROM stretches WHERE {_STREAM}", astuple(key))
        return {row[0] for row in rows}

    def parts(self, *, video_id: int | None = None, space_id: int | None = None) -> list[Part]:
        """Return the files of a video, of a space, of both or of all, by id."""
        rows = self._database.all(
            "SELECT * FROM parts WHERE video_id = coalesce(?, video_id)"
            " AND space_id = coalesce(?, space_id) ORDER BY part_id",
            [video_id, space_id],
        )
        return [Part(*row) for row in rows]

    def rows(
        self, space_id: int, video_ids: Sequence[int] | None, columns: Sequence[str]
    ) -> pa.Table:
        """Return columns of the seen rows by row id."""
        chosen, parameters = "", list[Any]([space_id])
        if video_ids is not None:
            chosen = "AND video_id IN (SELECT unnest(?::BIGINT[]))"
            parameters.append([int(video_id) for video_id in video_ids])
        return self._database.table(
            f"SELECT {', '.join(columns)} FROM stored_frames WHERE space_id = ? {chosen}"
            " ORDER BY row_id",
            parameters,
        )

    def seen(self, space_id: int, video_id: int | None = None) -> pa.Table:
        """Return row_id, part_id and version of a space's rows, or a video's, by part and row."""
        return self._database.table(
            "SELECT row_id, part_id, version FROM stored_frames WHERE space_id = ?"
            " AND video_id = coalesce(?, video_id) ORDER BY part_id, row_id",
            [space_id, video_id],
        )

    def count(self, space_id: int, *, after: int = 0) -> int:
        """Return how many rows are seen whose version is above `after`."""
        found = self._database.one(
            "SELECT count(*) FROM stored_frames WHERE space_id = ? AND version > ?",
            [space_id, after],
        )
        return int(found[0]) if found else 0

    def version(self, space_id: int) -> int:
        """Return the highest version of a space's rows, 0 without any."""
        found = self._database.one(
            "SELECT coalesce(max(version), 0) FROM stored_frames WHERE space_id = ?", [space_id]
        )
        return int(found[0]) if found else 0

    def index(self, space_id: int) -> SavedIndex | None:
        """Return the saved index of a space, or None."""
        found = self._database.one(
            "SELECT space_id, path, checksum, kind, num_rows, version FROM indexes"
            " WHERE space_id = ?",
            [space_id],
        )
        return None if found is None else SavedIndex(*found)

    def paths(self) -> set[str]:
        """Return every file that the catalog knows, below the data folder."""
        rows = self._database.all("SELECT path FROM parts UNION ALL SELECT path FROM indexes")
        return {row[0] for row in rows}

    def draw(self, sequence: str) -> int:
        """Return a number for a new file; numbers may be left out, never given twice."""
        with self._database.transaction() as cursor:
            return next_id(cursor, sequence)

    # changes

    def commit_stretch(
        self, key: SegmentKey, stretch: tuple[int, float, float], table: pa.Table, part: Part | None
    ) -> np.ndarray:
        """Record a stretch and its part; return the frames that are now seen from it."""
        shown = self.shown_sampling(key.video_id, key.space_id)
        with self._database.transaction() as cursor:
            _ensure_segment(cursor, key, shown=shown in (None, key.sampling))
            number, start, stop = stretch
            cursor.execute(
                "INSERT INTO stretches VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [*astuple(key), number, start, stop, len(table)],
            )
            if part is None:
                return np.empty(0, np.int32)
            insert(cursor, "parts", _values(part))
            if shown not in (None, key.sampling):
                return np.empty(0, np.int32)
            return _show(cursor, part, table)

    def commit_overlay(self, part: Part, table: pa.Table) -> None:
        """Record an overlay whose rows take the place of those seen so far."""
        with self._database.transaction() as cursor:
            insert(cursor, "parts", _values(part))
            _show(cursor, part, table)

    def commit_finish(
        self, key: SegmentKey, num_frames: int, hidden: Sequence[tuple[Part, pa.Table]]
    ) -> list[Part]:
        """Mark a segment as whole and let its sampling be seen; return the parts that go."""
        stream = [key.video_id, key.space_id]
        others = "video_id = ? AND space_id = ? AND sampling <> ?"
        shown = self.shown_sampling(key.video_id, key.space_id)
        gone = [
            part
            for part in self.parts(video_id=key.video_id, space_id=key.space_id)
            if part.sampling != key.sampling
        ]
        with self._database.transaction() as cursor:
            _ensure_segment(cursor, key, shown=True)
            finished = {"num_frames": num_frames, "finished_at": now()}
            update(cursor, "segments", finished, _STREAM, astuple(key))
            for table in ("segments", "stretches", "parts"):
                cursor.execute(f"DELETE FROM {table} WHERE {others}", [*stream, key.sampling])
            update(cursor, "segments", {"shown": True}, "video_id = ? AND space_id = ?", stream)
            if shown != key.sampling:
                seen = "video_id = ? AND space_id = ?"
                cursor.execute(f"DELETE FROM stored_frames WHERE {seen}", stream)
            for part, rows in hidden:
                _show(cursor, part, rows)
        return gone

    def commit_compaction(
        self, old: Sequence[Part], new: Sequence[tuple[Part, np.ndarray]]
    ) -> None:
        """Let new parts hold the frames that old ones held."""
        with self._database.transaction() as cursor:
            for part, frames in new:
                insert(cursor, "parts", _values(part))
                cursor.register("given", pa.table({"frame": frames}))
                cursor.execute(
                    "UPDATE stored_frames SET part_id = ? WHERE space_id = ? AND video_id = ?"
                    " AND frame IN (SELECT frame FROM given)",
                    [part.part_id, part.space_id, part.video_id],
                )
            gone = [part.part_id for part in old]
            cursor.execute(
                "DELETE FROM parts WHERE part_id IN (SELECT unnest(?::BIGINT[]))", [gone]
            )

    def commit_index(self, saved: SavedIndex) -> None:
        """Let a file be the index of its space."""
        with self._database.transaction() as cursor:
            cursor.execute("DELETE FROM indexes WHERE space_id = ?", [saved.space_id])
            insert(cursor, "indexes", {**_values(saved), "built_at": now()})

    def commit_no_index(self, space_id: int) -> None:
        """Forget the saved index of a space."""
        with self._database.transaction() as cursor:
            cursor.execute("DELETE FROM indexes WHERE space_id = ?", [space_id])

    def commit_no_space(self, space_id: int) -> None:
        """Forget a space with all of its rows."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "DELETE FROM settings WHERE name = 'space' AND value ="
                " (SELECT space_key FROM spaces WHERE space_id = ?)",
                [space_id],
            )
            for table in (*_OF_A_SPACE, "spaces"):
                cursor.execute(f"DELETE FROM {table} WHERE space_id = ?", [space_id])

    def commit_interrupted(self) -> None:
        """Queue the jobs again that ran in a process that has ended."""
        with self._database.transaction() as cursor:
            update(cursor, "jobs", {"status": "queued"}, "status = 'running'", [])


def row_ids_of(video_id: int, frames: np.ndarray) -> np.ndarray:
    """Return the stable ids of a video's frames: int64 `video_id << 32 | frame`."""
    return (np.int64(video_id) << 32) | np.asarray(frames, np.int64)


def _values(record: Part | SavedIndex) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}


def _ensure_segment(cursor: Any, key: SegmentKey, *, shown: bool) -> None:
    if cursor.execute(f"SELECT 1 FROM segments WHERE {_STREAM}", [*astuple(key)]).fetchall():
        return
    values = zip(("video_id", "space_id", "sampling", "strategy"), astuple(key), strict=True)
    insert(cursor, "segments", {**dict(values), "shown": shown})


def _show(cursor: Any, part: Part, table: pa.Table) -> np.ndarray:
    """Let queries see a part's rows, but no approximate one where an exact one is seen."""
    where = "space_id = ? AND video_id = ?"
    stream = [part.space_id, part.video_id]
    exact = cursor.execute(
        f"SELECT frame FROM stored_frames WHERE {where} AND exact", stream
    ).fetchnumpy()["frame"]
    frames = table.column("frame").to_numpy()
    wins = table.column("exact").to_numpy() | ~np.isin(frames, exact)
    frames, count = frames[wins], int(wins.sum())
    version = next_id(cursor, "versions")
    known = table.filter(pa.array(wins))
    columns = {
        "space_id": np.full(count, part.space_id, np.int32),
        "row_id": row_ids_of(part.video_id, frames),
        "video_id": np.full(count, part.video_id, np.int64),
        "part_id": np.full(count, part.part_id, np.int64),
        "version": np.full(count, version, np.int64),
    }
    own = [name for name in tables.STORED_FRAMES.names if name not in columns]
    columns |= {name: known.column(name) for name in own}
    cursor.register("given", pa.table(columns).select(tables.STORED_FRAMES.names))
    cursor.execute(
        f"DELETE FROM stored_frames WHERE {where} AND frame IN (SELECT frame FROM given)", stream
    )
    cursor.execute("INSERT INTO stored_frames BY NAME SELECT * FROM given")
    return frames
