"""Which rows are stored, which file holds each, and which of them queries see."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from engine.storage import row_id
from engine.storage.changes import (
    STREAM,
    add_part,
    add_rows,
    add_segment,
    add_stretch,
    discard_empty,
    discard_index,
    discard_others,
    ensure_segment,
    has_others,
    show,
    values_of,
)
from engine.storage.database import Database, insert, next_id, now, update
from engine.storage.records import Holding, Part, SavedIndex, SegmentKey, VideoEnd, WholeVideo
from engine.storage.sampling import Sampling

ROW_COLUMNS = (
    *("row_id", "video_id", "frame", "seconds", "picture"),
    *("strategy", "reuse_rate", "drift", "exact"),
)
_OF_A_SPACE = ("stored_frames", "parts", "stretches", "segments", "indexes", "calibration")
_PART_COLUMNS = "part_id, space_id, kind, path, num_rows, size_bytes, checksum, format"
_LISTED = "SELECT unnest(?::BIGINT[])"
_DRAWN = 16  # numbers at a time


class Ledger:
    """Bookkeeping of rows; each `commit_…` is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._drawn: dict[str, list[int]] = {}  # by sequence, the next last

    # what is there

    def has_nothing(self, video_id: int, space_id: int) -> bool:
        """Whether no segment of a video is on record in a space, and so no row either."""
        sql = "SELECT 1 FROM segments WHERE video_id = ? AND space_id = ? LIMIT 1"
        return self._database.one(sql, [video_id, space_id]) is None

    def shown_sampling(self, video_id: int, space_id: int) -> Sampling | None:
        """Return the sampling whose rows queries see, or None."""
        found = self._database.one(
            "SELECT sampling FROM segments WHERE shown AND video_id = ? AND space_id = ?",
            [video_id, space_id],
        )
        return None if found is None else Sampling.parse(found[0])

    def committed(self, key: SegmentKey) -> set[int]:
        """Return the numbers of a segment's stretches."""
        rows = self._database.all(f"SELECT stretch FROM stretches WHERE {STREAM}", key.columns)
        return {row[0] for row in rows}

    def spans(
        self, video_id: int, space_id: int, sampling: Sampling, strategies: Sequence[str] | None
    ) -> list[tuple[float, float]]:
        """Return when the committed stretches of a video begin and end, by some strategies."""
        rows = self._database.all(
            "SELECT start_seconds, stop_seconds FROM stretches WHERE video_id = $1 AND space_id ="
            " $2 AND sampling = $3 AND ($4::VARCHAR[] IS NULL OR list_contains($4, strategy))"
            " AND stop_seconds > start_seconds"
            " ORDER BY start_seconds",
            [video_id, space_id, str(sampling), None if strategies is None else list(strategies)],
        )
        return [(float(start), float(stop)) for start, stop in rows]

    def frames(self, video_id: int, space_id: int, sampling: Sampling, strategy: str | None) -> int:
        """Return how many rows the committed stretches of a video have, by a strategy or any."""
        found = self._database.one(
            "SELECT coalesce(sum(num_frames), 0) FROM stretches WHERE video_id = ? AND space_id = ?"
            " AND sampling = ? AND strategy = coalesce(?, strategy)"
            " AND stop_seconds > start_seconds",
            [video_id, space_id, str(sampling), strategy],
        )
        return int(found[0]) if found else 0

    def parts(self, *, video_id: int | None = None, space_id: int | None = None) -> list[Part]:
        """Return the files of a video, of a space, of both or of all, by id."""
        rows = self._database.all(
            f"SELECT {_PART_COLUMNS} FROM parts WHERE space_id = coalesce(?, space_id) AND (? IS"
            " NULL OR part_id IN (SELECT part_id FROM holdings WHERE video_id = ?))"
            " ORDER BY part_id",
            [space_id, video_id, video_id],
        )
        return [Part(*row) for row in rows]

    def shown_parts(self, space_id: int) -> list[Part]:
        """Return the files of a space that hold nothing but samplings that queries see."""
        rows = self._database.all(
            f"SELECT {_PART_COLUMNS} FROM parts WHERE space_id = ? AND part_id NOT IN"
            " (SELECT part_id FROM holdings ANTI JOIN (SELECT video_id, sampling FROM segments"
            " WHERE shown AND space_id = ?) USING (video_id, sampling)) ORDER BY part_id",
            [space_id, space_id],
        )
        return [Part(*row) for row in rows]

    def holdings(self, part_ids: Sequence[int] | None = None) -> dict[int, list[Holding]]:
        """Return what each of these parts holds, or each of all."""
        chosen = "" if part_ids is None else "WHERE part_id IN (SELECT unnest(?::BIGINT[]))"
        rows = self._database.all(
            f"SELECT part_id, video_id, sampling, strategy, stretch FROM holdings {chosen}"
            " ORDER BY part_id, video_id, strategy, stretch",
            [] if part_ids is None else [list(part_ids)],
        )
        held: dict[int, list[Holding]] = {}
        for part_id, video_id, sampling, *stretch in rows:
            item = Holding(video_id, Sampling.parse(sampling), *stretch)
            held.setdefault(part_id, []).append(item)
        return held

    def discarded(self) -> list[str]:
        """Return the files that nothing needs any more and that are not deleted yet."""
        return [row[0] for row in self._database.all("SELECT path FROM discarded")]

    def rows(
        self,
        space_id: int,
        video_ids: Sequence[int] | None,
        columns: Sequence[str],
        within: tuple[float, float] | None = None,
    ) -> pa.Table:
        """Return columns of the seen rows by row id, of all or of those in `[start, stop)`."""
        chosen, parameters = "", list[Any]([space_id])
        if video_ids is not None:
            chosen = "AND video_id IN (SELECT unnest(?::BIGINT[]))"
            parameters.append([int(video_id) for video_id in video_ids])
        if within is not None:
            chosen += " AND seconds >= ? AND seconds < ?"
            parameters += within
        return self._database.table(
            f"SELECT {', '.join(columns)} FROM stored_frames WHERE space_id = ? {chosen}"
            " ORDER BY row_id",
            parameters,
        )

    def seen(
        self, space_id: int, video_id: int | None = None, *, after: int | None = None
    ) -> pa.Table:
        """Return row_id, part_id and version of a space's rows, by part and row.

        They may be those of a video alone, or those whose version is above `after`.
        """
        return self._database.table(
            "SELECT row_id, part_id, version FROM stored_frames WHERE space_id = $1"
            " AND ($2 IS NULL OR video_id = $2) AND ($3 IS NULL OR version > $3)"
            " ORDER BY part_id, row_id",
            [space_id, video_id, after],
        )

    def seen_in(self, space_id: int, part_ids: Sequence[int]) -> pa.Table:
        """Return row_id and part_id of the rows that are seen from some parts, by part and row."""
        return self._database.table(
            "SELECT row_id, part_id FROM stored_frames WHERE space_id = ?"
            f" AND part_id IN ({_LISTED}) ORDER BY part_id, row_id",
            [space_id, list(part_ids)],
        )

    def seen_from(self, part: Part) -> row_id.Ids:
        """Return the ids of the rows that are seen from a part."""
        found = self._database.table(
            "SELECT row_id FROM stored_frames WHERE space_id = ? AND part_id = ? ORDER BY row_id",
            [part.space_id, part.part_id],
        )
        ids: row_id.Ids = found.column("row_id").to_numpy()
        return ids

    def rows_without_part(self) -> list[tuple[int, int, int]]:
        """Return part, space and number of rows that are seen from a part not on record."""
        rows = self._database.all(
            "SELECT part_id, space_id, count(*) FROM stored_frames WHERE part_id NOT IN"
            " (SELECT part_id FROM parts) GROUP BY ALL ORDER BY part_id"
        )
        return [(int(part_id), int(space_id), int(count)) for part_id, space_id, count in rows]

    def has(self, part: Part) -> bool:
        """Whether a part is still on record."""
        return self._database.one("SELECT 1 FROM parts WHERE part_id = ?", [part.part_id]) == (1,)

    def has_space(self, space_id: int) -> bool:
        """Whether a space is still on record."""
        return self._database.one("SELECT 1 FROM spaces WHERE space_id = ?", [space_id]) == (1,)

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

    def state(self, space_id: int, video_id: int) -> tuple[int, int]:
        """Return how many rows of a video there are, and the highest of their versions."""
        found = self._database.one(
            "SELECT count(*), coalesce(max(version), 0) FROM stored_frames"
            " WHERE space_id = ? AND video_id = ?",
            [space_id, video_id],
        )
        return (int(found[0]), int(found[1])) if found else (0, 0)

    def index(self, space_id: int) -> SavedIndex | None:
        """Return the saved index of a space, or None."""
        found = self._database.one(
            "SELECT space_id, path, checksum, kind, num_rows, version FROM indexes"
            " WHERE space_id = ?",
            [space_id],
        )
        return None if found is None else SavedIndex(*found)

    def index_checksums(self) -> dict[str, str]:
        """Return the checksum of each saved index by its path."""
        return dict(self._database.all("SELECT path, checksum FROM indexes"))

    def transcript_checksums(self) -> dict[str, str]:
        """Return the checksum of each file of lines by its path."""
        return dict(self._database.all("SELECT path, checksum FROM transcripts"))

    def paths(self) -> set[str]:
        """Return every file that the catalog knows, those to be deleted included."""
        rows = self._database.all(
            "SELECT path FROM parts UNION ALL SELECT path FROM indexes"
            " UNION ALL SELECT path FROM transcripts UNION ALL SELECT path FROM discarded"
        )
        return {row[0] for row in rows}

    def draw(self, sequence: str) -> int:
        """Return a number for a new file; numbers may be left out, never given twice.

        Some are drawn at a time: each draw is a commit.
        """
        with self._database.writing:
            kept = self._drawn.setdefault(sequence, [])
            if not kept:
                with self._database.transaction(shown=False) as cursor:
                    kept += reversed([next_id(cursor, sequence) for _ in range(_DRAWN)])
            return kept.pop()

    # changes

    def commit_stretch(
        self, key: SegmentKey, stretch: tuple[int, float, float], table: pa.Table, part: Part | None
    ) -> np.ndarray:
        """Record a stretch and its part; return the ids of the rows that are now seen."""
        shown = self.shown_sampling(key.video_id, key.space_id)
        with self._database.transaction() as cursor:
            ensure_segment(cursor, key, shown=shown in (None, key.sampling))
            number, start, stop = stretch
            add_stretch(cursor, key, number, start, stop, len(table))
            if part is None:
                return np.empty(0, np.int64)
            add_part(cursor, part, [Holding(key.video_id, key.sampling, key.strategy, number)])
            if shown not in (None, key.sampling):
                return np.empty(0, np.int64)
            return show(cursor, part, table)

    def commit_first(
        self,
        key: SegmentKey,
        stretch: tuple[int, float, float],
        table: pa.Table,
        part: Part,
        ending: WholeVideo,
    ) -> np.ndarray:
        """Record the only stretch of a video that `has_nothing`, and that it is at its end."""
        with self._database.transaction(adds=True) as cursor:
            number, start, stop = stretch
            add_segment(cursor, key, shown=True, num_frames=ending.num_frames)
            add_stretch(cursor, key, number, start, stop, len(table))
            add_part(cursor, part, [Holding(key.video_id, key.sampling, key.strategy, number)])
            update(cursor, "videos", ending.end.columns, "video_id = ?", [key.video_id])
            seen = add_rows(cursor, part, table)
        self._database.entered.pop(key.video_id, None)
        return seen

    def commit_overlay(self, part: Part, table: pa.Table, holding: Holding) -> None:
        """Record an overlay whose rows take the place of those seen so far."""
        with self._database.transaction() as cursor:
            add_part(cursor, part, [holding])
            show(cursor, part, table)

    def commit_shown(self, part: Part, table: pa.Table) -> None:
        """Let rows be seen from a part that is on record."""
        with self._database.transaction() as cursor:
            show(cursor, part, table)

    def commit_finish(
        self,
        key: SegmentKey,
        num_frames: int,
        shown: Sampling | None,
        hidden: Sequence[tuple[Part, pa.Table]],
        end: VideoEnd | None = None,
    ) -> None:
        """Mark a segment as whole and let its sampling be seen; what other samplings had goes.

        `shown` is the sampling that is seen so far, `end` what is said of the video at once.
        """
        stream = [key.video_id, key.space_id]
        of_it = "video_id = ? AND space_id = ?"
        with self._database.transaction() as cursor:
            finished = {"num_frames": num_frames, "finished_at": now()}
            if not update(cursor, "segments", finished, STREAM, key.columns):
                ensure_segment(cursor, key, shown=True)
                update(cursor, "segments", finished, STREAM, key.columns)
            if has_others(cursor, key):
                discard_others(cursor, key)
            if shown != key.sampling:
                update(cursor, "segments", {"shown": True}, of_it, stream)
                cursor.execute(f"DELETE FROM stored_frames WHERE {of_it}", stream)
            for part, rows in hidden:
                show(cursor, part, rows)
            if end is not None:
                update(cursor, "videos", end.columns, "video_id = ?", [key.video_id])

    def commit_compaction(
        self, old: Sequence[Part], new: Sequence[tuple[Part, Sequence[Holding], np.ndarray]]
    ) -> None:
        """Let new parts hold the rows, given by their ids, that old ones held."""
        with self._database.transaction() as cursor:
            for part, held, row_ids in new:
                add_part(cursor, part, held)
                cursor.register("given", pa.table({"row_id": row_ids}))
                cursor.execute(
                    "UPDATE stored_frames SET part_id = ? WHERE space_id = ?"
                    " AND row_id IN (SELECT row_id FROM given)",
                    [part.part_id, part.space_id],
                )
            gone = [part.part_id for part in old]
            cursor.execute(f"DELETE FROM holdings WHERE part_id IN ({_LISTED})", [gone])
            discard_empty(cursor)

    def commit_discarded(self, paths: Sequence[str]) -> None:
        """Forget files that have been deleted."""
        with self._database.transaction(shown=False) as cursor:
            cursor.execute("DELETE FROM discarded WHERE path IN (SELECT unnest(?))", [list(paths)])

    def commit_index(self, saved: SavedIndex) -> None:
        """Let a file be the index of its space."""
        with self._database.transaction(shown=False) as cursor:
            discard_index(cursor, saved.space_id)
            insert(cursor, "indexes", {**values_of(saved), "built_at": now()})

    def commit_no_index(self, space_id: int) -> None:
        """Forget the saved index of a space."""
        with self._database.transaction(shown=False) as cursor:
            discard_index(cursor, space_id)

    def commit_no_space(self, space_id: int) -> None:
        """Forget a space with all of its rows."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "DELETE FROM settings WHERE name = 'space' AND value ="
                " (SELECT space_key FROM spaces WHERE space_id = ?)",
                [space_id],
            )
            cursor.execute(
                "DELETE FROM holdings WHERE part_id IN"
                " (SELECT part_id FROM parts WHERE space_id = ?)",
                [space_id],
            )
            discard_empty(cursor)
            discard_index(cursor, space_id)
            for table in (*_OF_A_SPACE, "spaces"):
                cursor.execute(f"DELETE FROM {table} WHERE space_id = ?", [space_id])

    def commit_numbers(self, sequence: str, used: int) -> None:
        """Give out no number up to `used`, which something has already."""
        self._drawn.clear()
        with self._database.transaction() as cursor:
            while (last := next_id(cursor, sequence)) < used:
                steps = min(used - last, 100_000)
                cursor.execute(f"SELECT max(nextval('{sequence}')) FROM range({steps})").fetchall()

    def commit_interrupted(self) -> None:
        """Queue the jobs again that ran in a process that has ended."""
        if not self._database.one("SELECT 1 FROM jobs WHERE status = 'running'"):
            return
        with self._database.transaction() as cursor:
            update(cursor, "jobs", {"status": "queued"}, "status = 'running'", [])
