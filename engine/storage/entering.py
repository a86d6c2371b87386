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
_REMEMBERED = 64  # videos just entered


@dataclass(frozen=True, slots=True)
class Entered:
    """A video that is on record, and whether it came on record just now: nothing else knows it."""

    video_id: int
    fresh: bool


@dataclass(frozen=True, slots=True)
class JustEntered:
    """What is on record of a video that has just come, and nothing else was said of since."""

    video: Mapping[str, Any]
    name: str
    gops: tuple[tuple[int, float, float, int, int], ...]


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
            same, holder, named = self._standing(name, known["content_hash"])
            if same is not None and same[2] == "given":
                known = {n: value for n, value in known.items() if not n.startswith("recorded")}
            gone = self._displaced(holder, same[0] if same else None)
            free = holder is None and not named
            if gone or (same is not None and gops is not None):
                self._database.read_late()
            new = same is None and free
            with self._database.transaction(adds=new) as cursor:
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
            if new and gops is not None:
                self._note(video_id, JustEntered({**known, "status": status}, name, _rows(gops)))
            self._tell(gone)
        return Entered(video_id, same is None)

    def _standing(
        self, name: str, content: str | None
    ) -> tuple[tuple[int, str, str | None] | None, int | None, bool]:
        """Return what has some content, which video has a name, and whether it is a first name."""
        rows = self._database.all(
            "SELECT 'content', video_id, status, recorded_from FROM videos WHERE content_hash = $2"
            " UNION ALL SELECT 'alias', video_id, NULL, NULL FROM aliases WHERE name = $1"
            " UNION ALL SELECT 'name', video_id, NULL, NULL FROM videos WHERE name = $1",
            [name, content],
        )
        found = {what: values for what, *values in reversed(rows)}
        same, alias = found.get("content"), found.get("alias")
        return tuple(same) if same else None, alias[0] if alias else None, "name" in found

    def _displaced(self, holder: int | None, keep: int | None) -> list[int]:
        """Return the video that will have no name left once its name stands for other content."""
        if holder is None or holder == keep:
            return []
        count = self._database.one("SELECT count(*) FROM aliases WHERE video_id = ?", [holder])
        return [int(holder)] if count == (1,) else []

    def add_gops(self, video_id: int, gops: "Sequence[Gop]") -> None:
        """Set the GOPs of a video, replacing those stored before."""
        with self._database.writing, self._database.transaction() as cursor:
            self._database.read_late()
            put_gops(cursor, video_id, gops, fresh=False)

    def _note(self, video_id: int, just: JustEntered) -> None:
        """Keep what is known of a video just entered: its rows come soon, and say it again."""
        entered = self._database.entered
        entered[video_id] = just
        for old in list(entered)[:-_REMEMBERED]:
            del entered[old]

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


def _rows(gops: "Sequence[Gop]") -> tuple[tuple[int, float, float, int, int], ...]:
    return tuple(
        (gop.index, gop.start_seconds, gop.stop_seconds, gop.num_packets, gop.key_pts)
        for gop in gops
    )


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
