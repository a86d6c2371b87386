"""What is stored, by name: videos, GOPs, spaces, jobs and calibration, in DuckDB."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_args

from engine.errors import NotFoundError, UsageError, check_limit, unknown
from engine.storage.changes import delete_videos
from engine.storage.database import Database, insert, next_id, now, update
from engine.storage.entering import Entrance, Removed
from engine.storage.jobs import JobRecords, check, parsed
from engine.storage.records import (
    Calibration,
    Segment,
    StoredGop,
    StoredSpace,
    StoredStretch,
    Video,
    VideoEnd,
    VideoStatus,
)
from engine.storage.sampling import Sampling
from engine.storage.standing import StandingRecords
from engine.storage.user_columns import read_cells
from engine.storage.vocabulary import KeptVocabulary, SavedViews

if TYPE_CHECKING:
    from datetime import datetime

    from engine.vision.backbone.space import Space

_VIDEO_COLUMNS = ", ".join(f.name for f in fields(Video) if f.name not in ("names", "columns"))
_SPACE_COLUMNS = "space_id, space_key, name, model, revision, weight_hash, preprocessing, dimension"

_COMPARED = 2000  # names, for the nearest: among many more it takes seconds


class Catalog(JobRecords, SavedViews, StandingRecords, Entrance):
    """Typed access to the catalog; every method may be called from any thread.

    A video is its content: the same bytes under several names are one video. `removed` is told the
    ids of videos that are gone, after the commit.
    """

    def __init__(self, database: Database, removed: Removed) -> None:
        super().__init__(database)
        self._removed = removed
        self._measured: dict[tuple[str, str], dict[str, Any]] = {}
        self._vocabulary = KeptVocabulary()

    # videos

    def rename(self, old: str, new: str) -> None:
        """Change one of a video's names to one that nothing has."""
        with self._database.writing:
            video = self.video(old)
            if self._database.one("SELECT 1 FROM aliases WHERE name = ?", [new]):
                raise UsageError(f"cannot rename {old!r} to {new!r}: another video has that name")
            with self._database.transaction() as cursor:
                update(cursor, "aliases", {"name": new}, "name = ?", [old])
                if video.name == old:
                    update(cursor, "videos", {"name": new}, "video_id = ?", [video.video_id])

    def remove_video(self, video: int | str) -> None:
        """Remove a video with its names, rows, files and index entries."""
        with self._database.writing:
            gone = [self.video(video).video_id]
            self._database.read_late()
            with self._database.transaction() as cursor:
                delete_videos(cursor, gone)
            self._tell(gone)

    def set_status(
        self,
        video_id: int,
        status: VideoStatus,
        error: str | None = None,
        report: Mapping[str, Any] | None = None,
    ) -> None:
        """Say how far a video has come; `report` (JSON-ready) replaces the stored one if given."""
        check("status", status, get_args(VideoStatus))
        values = VideoEnd(status, error, report).columns
        with self._database.writing:
            self.require(video_id)
            with self._database.transaction() as cursor:
                update(cursor, "videos", values, "video_id = ?", [video_id])

    def videos(
        self, pattern: str | None = None, *, after: int = 0, limit: int | None = None
    ) -> list[Video]:
        """Return the videos one of whose names matches a glob (`*`, `?`, `[…]`) or is it, by id.

        `limit` gives a page of so many, those whose ids come `after` one.
        """
        check_limit(limit)
        page = f" LIMIT {limit}" if limit is not None else ""
        if pattern is None:
            return self._read_videos("WHERE video_id > ?", [after], page)
        matching = "SELECT video_id FROM aliases WHERE name GLOB ? OR name = ?"
        where = f"WHERE video_id > ? AND video_id IN ({matching})"
        return self._read_videos(where, [after, pattern, pattern], page)

    def video_ids(self, pattern: str | None = None) -> list[int]:
        """Return the ids of the videos that `videos` would; cheaper than all about them."""
        sql, values = "SELECT video_id FROM videos", []
        if pattern is not None:
            sql = "SELECT DISTINCT video_id FROM aliases WHERE name GLOB ? OR name = ?"
            values = [pattern, pattern]
        return [int(row[0]) for row in self._database.all(f"{sql} ORDER BY video_id", values)]

    def videos_of(self, video_ids: Sequence[int]) -> list[Video]:
        """Return the videos with these ids, by id."""
        found = self._read_videos("WHERE video_id IN (SELECT unnest(?::BIGINT[]))", [video_ids])
        lost = set(video_ids) - {video.video_id for video in found}
        if lost:
            raise NotFoundError(self._no_video(min(lost)))
        return found

    def names_of(self, video_ids: Sequence[int]) -> dict[int, str]:
        """Return the names of those of some videos that there are, by id."""
        sql = "SELECT video_id, name FROM videos WHERE video_id IN (SELECT unnest(?::BIGINT[]))"
        return dict(self._database.all(f"{sql} ORDER BY video_id", [list(video_ids)]))

    def count_videos(self) -> int:
        """Return how many videos are on record."""
        found = self._database.one("SELECT count(*) FROM videos")
        return int(found[0]) if found else 0

    def count_by_status(self) -> dict[VideoStatus, int]:
        """Return how many videos stand how."""
        sql = "SELECT status, count(*) FROM videos GROUP BY status"
        return dict(self._database.all(sql))

    def video(self, video: int | str) -> Video:
        """Return a video by its id or one of its names."""
        by_name = "video_id = (SELECT video_id FROM aliases WHERE name = ?)"
        where = by_name if isinstance(video, str) else "video_id = ?"
        found = self._read_videos(f"WHERE {where}", [video])
        if not found:
            raise NotFoundError(self._no_video(video))
        return found[0]

    def require(self, video_id: int) -> None:
        """Raise NotFoundError unless a video is on record; cheaper than reading all about it."""
        if not self._database.one("SELECT 1 FROM videos WHERE video_id = ?", [video_id]):
            raise NotFoundError(self._no_video(video_id))

    def find_content(self, content_hash: str) -> Video | None:
        """Return the video with this content, if there is one."""
        found = self._read_videos("WHERE content_hash = ?", [content_hash])
        return found[0] if found else None

    def id_of_content(self, content_hash: str) -> int | None:
        """Return the id of the video with this content, or None; cheaper than all about it."""
        sql = "SELECT video_id FROM videos WHERE content_hash = ?"
        found = self._database.one(sql, [content_hash])
        return None if found is None else int(found[0])

    def paths_by_name(self) -> dict[str, str]:
        """Return the path that each name stands for."""
        return dict(self._database.all("SELECT name, path FROM aliases"))

    def paths(self, video_id: int) -> list[str]:
        """Return the path of each name of a video."""
        sql = "SELECT path FROM aliases WHERE video_id = ? ORDER BY added_at, name"
        return [row[0] for row in self._database.all(sql, [video_id])]

    def _read_videos(self, where: str, parameters: Sequence[Any], page: str = "") -> list[Video]:
        rows = self._database.all(
            f"SELECT {_VIDEO_COLUMNS}, (SELECT list(a.name ORDER BY a.added_at, a.name) FROM"
            " aliases a WHERE a.video_id = v.video_id),"
            " (SELECT json_group_object(c.name, c.value) FROM cells c"
            " WHERE c.video_id = v.video_id)"
            # the page first: names are looked up for its videos alone
            f" FROM (SELECT * FROM videos {where} ORDER BY video_id{page}) v ORDER BY video_id",
            parameters,
        )
        videos = []
        kinds = self.columns() if rows else {}
        for *known, report, names, cells in rows:
            values = [*known, parsed(report), tuple(names), read_cells(cells, kinds)]
            videos.append(Video(*values))
        return videos

    def _no_video(self, video: int | str) -> str:
        names = [row[0] for row in self._database.all("SELECT name FROM aliases")]
        near = get_close_matches(str(video), names, n=1) if len(names) <= _COMPARED else []
        nearest = f"; nearest: {near[0]}" if near else ""
        return f"no video {video!r} among the {len(names)} stored names{nearest}"

    def gops(self, video_id: int) -> list[StoredGop]:
        """Return the GOPs of a video in order."""
        rows = self._database.all("SELECT * FROM gops WHERE video_id = ? ORDER BY gop", [video_id])
        return [StoredGop(*row) for row in rows]

    # spaces

    def add_space(self, space: "Space") -> StoredSpace:
        """Register an embedding space; the first one becomes the current one."""
        with self._database.writing:
            if any(known.key == space.key for known in self.spaces()):
                return self.space(space.key)
            with self._database.transaction() as cursor:
                values = {
                    "space_id": next_id(cursor, "space_ids"),
                    "space_key": space.key,
                    "name": space.name,
                    "model": space.model,
                    "revision": space.revision,
                    "weight_hash": space.weight_hash,
                    "preprocessing": space.preprocessing,
                    "dimension": space.dimension,
                    "added_at": now(),
                }
                insert(cursor, "spaces", values)
            if self.current_space() is None:
                self.use_space(space.key)
            return self.space(space.key)

    def spaces(self) -> list[StoredSpace]:
        """Return all embedding spaces in the order in which they came."""
        rows = self._database.all(f"SELECT {_SPACE_COLUMNS} FROM spaces ORDER BY space_id")
        return [StoredSpace(*row) for row in rows]

    @property
    def identity(self) -> str:
        """What this store and its backups have and no other; empty where none was given yet."""
        return self._database.identity() or ""

    def space(self, key: str) -> StoredSpace:
        """Return a space by its key."""
        spaces = {space.key: space for space in self.spaces()}
        if key not in spaces:
            raise NotFoundError(unknown("space", key, spaces))
        return spaces[key]

    def current_space(self) -> StoredSpace | None:
        """Return the space that queries use, or None while there is none."""
        found = self._database.one("SELECT value FROM settings WHERE name = 'space'")
        return None if found is None else self.space(found[0])

    def use_space(self, key: str) -> None:
        """Make a space the one that queries and the relation `frames` use."""
        self.space(key)
        with self._database.transaction() as cursor:
            cursor.execute("DELETE FROM settings WHERE name = 'space'")
            cursor.execute("INSERT INTO settings VALUES ('space', ?)", [key])

    def calibration(self, space_key: str, kind: Calibration) -> dict[str, Any] | None:
        """Return what was measured of one kind in a space, or None."""
        check("calibration", kind, get_args(Calibration))
        found = self._database.one(
            "SELECT value FROM spaces LEFT JOIN (SELECT space_id, value FROM calibration"
            " WHERE kind = ?) USING (space_id) WHERE space_key = ?",
            [kind, space_key],
        )
        if found is None:
            raise NotFoundError(unknown("space", space_key, [each.key for each in self.spaces()]))
        return parsed(found[0]) if found[0] else self._measured.get((space_key, kind))

    def set_calibration(self, space_key: str, kind: Calibration, value: Mapping[str, Any]) -> None:
        """Store what was measured (JSON-ready); other kinds stay as they are.

        A process that only reads keeps it for itself.
        """
        check("calibration", kind, get_args(Calibration))
        space_id = self.space(space_key).space_id
        if self._database.read_only:
            self._measured[space_key, kind] = dict(value)
            return
        with self._database.transaction(shown=False) as cursor:
            where = "DELETE FROM calibration WHERE space_id = ? AND kind = ?"
            cursor.execute(where, [space_id, kind])
            known = {"space_id": space_id, "kind": kind, "updated_at": now()}
            insert(cursor, "calibration", {**known, "value": json.dumps(value)})

    # what is embedded

    def segments(self, video_id: int, space_key: str) -> list[Segment]:
        """Return what is stored of a video in a space, the shown sampling first."""
        rows = self._database.all(
            "SELECT video_id, ?, sampling, strategy, shown, num_frames FROM segments"
            " WHERE video_id = ? AND space_id = ? ORDER BY shown DESC, sampling, strategy",
            [space_key, video_id, self.space(space_key).space_id],
        )
        return [
            Segment(video, key, Sampling.parse(text), *rest) for video, key, text, *rest in rows
        ]

    def finished_since(self, space_key: str, since: datetime) -> list[int]:
        """Return the videos of which all rows were embedded at a time or after it."""
        rows = self._database.all(
            "SELECT video_id FROM segments WHERE space_id = ? AND shown AND finished_at >= ?"
            " GROUP BY video_id ORDER BY max(finished_at), video_id",
            [self.space(space_key).space_id, since],
        )
        return [video_id for (video_id,) in rows]

    def stretches(self, video_id: int, space_key: str) -> list[StoredStretch]:
        """Return the committed stretches of the shown sampling, in the order of their times."""
        rows = self._database.all(
            "SELECT s.video_id, sampling, strategy, stretch, start_seconds, stop_seconds,"
            " s.num_frames FROM stretches s JOIN segments"
            " USING (video_id, space_id, sampling, strategy)"
            " WHERE shown AND s.video_id = ? AND space_id = ? ORDER BY start_seconds, strategy",
            [video_id, self.space(space_key).space_id],
        )
        return [StoredStretch(video, Sampling.parse(text), *rest) for video, text, *rest in rows]
