"""How videos come on record: by their content, under a name, with their groups of pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from engine.storage.changes import delete_videos, give_name
from engine.storage.database import Database, insert, now, update
from engine.storage.records import VideoStatus
from schemas import tables

if TYPE_CHECKING:
    from datetime import datetime

    from engine.video.container import VideoInfo
    from engine.video.gop import Gop

Removed = Callable[[Sequence[int]], None]


@dataclass(frozen=True, slots=True)
class Entered:
    """A video that is on record, and whether it came on record just now: nothing else knows it."""

    video_id: int
    fresh: bool


class Entrance:
    """Registers videos; every method may be called from any thread."""

    _database: Database
    _removed: Removed

    def add_video(
        self,
        info: "VideoInfo",
        content_hash: str,
        name: str,
        named_time: "datetime | None" = None,
    ) -> int:
        """Register a video under a name and return its id; see `enter`."""
        return self.enter(info, content_hash, name, named_time).video_id

    def enter(
        self,
        info: "VideoInfo",
        content_hash: str,
        name: str,
        named_time: "datetime | None" = None,
        *,
        gops: "Sequence[Gop] | None" = None,
        status: VideoStatus = "registered",
    ) -> Entered:
        """Register a video under a name, at once with its GOPs; known content gains the name.

        A name that stood for other content now stands for this one, and content that has lost its
        last name is removed with all of its rows: names are to be unique per source.
        It was recorded when its name says (`named_time`), or else its container; what a user has
        said of that stays. `status` is that of a new one.
        """
        probed: dict[str, Any] = {
            "path": info.path,
            "content_hash": content_hash,
            "duration_seconds": info.duration_seconds,
            "fps": info.fps,
            "width": info.width,
            "height": info.height,
            "codec": info.codec,
            "num_frames": info.num_frames,
            "size_bytes": info.size_bytes,
        }
        if when := named_time or info.recorded_at:
            probed |= {"recorded_at": when, "recorded_from": "name" if named_time else "metadata"}
        return self._put(name, probed, status, None, gops)

    def quarantine(
        self, name: str, path: str, error: str, *, content_hash: str | None = None
    ) -> int:
        """Register something that cannot be used, with the reason; what its name stood for goes."""
        known = {"path": path, "content_hash": content_hash}
        return self._put(name, known, "quarantined", error).video_id

    def _put(
        self,
        name: str,
        known: Mapping[str, Any],
        status: VideoStatus,
        error: str | None,
        gops: "Sequence[Gop] | None" = None,
    ) -> Entered:
        with self._database.writing:
            same = self._database.one(
                "SELECT video_id, status, recorded_from FROM videos WHERE content_hash = ?",
                [known["content_hash"]],
            )
            if same is not None and same[2] == "given":
                known = {n: value for n, value in known.items() if not n.startswith("recorded")}
            gone, free = self._displaced(name, same[0] if same else None)
            if gone or (same is not None and gops is not None):
                self._database.read_late()
            with self._database.transaction() as cursor:
                delete_videos(cursor, gone)
                values = {**known, "error": error}
                if same is None:
                    first = {"name": name, "ingested_at": now(), "status": status}
                    video_id = insert_video(cursor, {**first, **values})
                else:
                    video_id = int(same[0])
                    if "quarantined" in (status, same[1]):
                        values["status"] = "registered" if error is None else "quarantined"
                    update(cursor, "videos", values, "video_id = ?", [video_id])
                if gops is not None:
                    put_gops(cursor, video_id, gops, fresh=same is None)
                if free:
                    given = {"name": name, "video_id": video_id, "path": known["path"]}
                    insert(cursor, "aliases", {**given, "added_at": now()})
                else:
                    give_name(cursor, name, video_id, known["path"])
            self._tell(gone)
        return Entered(video_id, same is None)

    def _displaced(self, name: str, keep: int | None) -> tuple[list[int], bool]:
        """Return the video that will have no name left once `name` stands for other content.

        And whether nothing has the name so far.
        """
        found = self._database.one(
            "SELECT (SELECT video_id FROM aliases WHERE name = $1),"
            " EXISTS (SELECT 1 FROM videos WHERE name = $1)",
            [name],
        )
        holder, named = found or (None, False)
        if holder is None or holder == keep:
            return [], holder is None and not named
        count = self._database.one("SELECT count(*) FROM aliases WHERE video_id = ?", [holder])
        return ([int(holder)] if count == (1,) else []), False

    def add_gops(self, video_id: int, gops: "Sequence[Gop]") -> None:
        """Set the GOPs of a video, replacing those stored before."""
        with self._database.writing, self._database.transaction() as cursor:
            self._database.read_late()
            put_gops(cursor, video_id, gops, fresh=False)

    def _tell(self, gone: Sequence[int]) -> None:
        if gone:
            self._removed(gone)


def insert_video(cursor: Any, values: Mapping[str, Any]) -> int:
    """Add a video and return its id, which is never given out again."""
    columns, marks = ", ".join(values), ", ".join("?" for _ in values)
    sql = (
        f"INSERT INTO videos (video_id, {columns}) VALUES (nextval('video_ids'), {marks})"
        " RETURNING video_id"
    )
    return int(cursor.execute(sql, [*values.values()]).fetchall()[0][0])


def put_gops(cursor: Any, video_id: int, gops: "Sequence[Gop]", *, fresh: bool) -> None:
    """Set the GOPs of a video; of one that is not `fresh` those stored before go."""
    if not fresh:
        cursor.execute("DELETE FROM gops WHERE video_id = ?", [video_id])
    columns = {
        "video_id": [video_id] * len(gops),
        "gop": [gop.index for gop in gops],
        "start_seconds": [gop.start_seconds for gop in gops],
        "stop_seconds": [gop.stop_seconds for gop in gops],
        "num_frames": [gop.num_packets for gop in gops],
        "key_pts": [gop.key_pts for gop in gops],
    }
    cursor.register("given", pa.table(columns).cast(tables.GOPS))
    cursor.execute("INSERT INTO gops BY NAME SELECT * FROM given")
