"""Single changes of what is on record, each inside a transaction of its caller."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from engine.storage import row_id
from engine.storage.database import insert, next_id, now, update
from engine.storage.records import Holding, Part, SavedIndex, SegmentKey
from schemas import tables

_OF_A_VIDEO = (
    *("stored_frames", "holdings", "stretches", "segments", "gops"),
    *("aliases", "cells", "transcripts", "videos"),
)
STREAM = "video_id = ? AND space_id = ? AND sampling = ? AND strategy = ?"


def row_ids_of(table: pa.Table) -> row_id.Ids:
    """Return the ids of a part's rows."""
    return row_id.pack(table.column("video_id").to_numpy(), table.column("frame").to_numpy())


def add_part(cursor: Any, part: Part, held: Sequence[Holding]) -> None:
    """Record a part with what it holds."""
    insert(cursor, "parts", values_of(part))
    if len(held) == 1:  # as of a stretch: a table of Arrow's costs more than one row
        values = {name: getattr(held[0], name) for name in Holding.__slots__}
        values |= {"part_id": part.part_id, "sampling": str(held[0].sampling)}
        insert(cursor, "holdings", values)
        return
    columns: dict[str, list[Any]] = {"part_id": [part.part_id] * len(held)}
    columns |= {name: [getattr(item, name) for item in held] for name in Holding.__slots__}
    columns |= {"sampling": [str(item.sampling) for item in held]}
    cursor.register("given", pa.table(columns, schema=tables.HOLDINGS))
    cursor.execute("INSERT INTO holdings BY NAME SELECT * FROM given")


def add_stretch(
    cursor: Any, key: SegmentKey, number: int, start: float, stop: float, num_frames: int
) -> None:
    """Record a stretch as committed."""
    cursor.execute(
        "INSERT INTO stretches VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [*key.columns, number, start, stop, num_frames],
    )


def discard_empty(cursor: Any) -> None:
    """Forget the parts that hold nothing of any video; their files are to be deleted."""
    empty = "part_id NOT IN (SELECT part_id FROM holdings)"
    cursor.execute(f"INSERT INTO discarded SELECT path FROM parts WHERE {empty}")
    cursor.execute(f"DELETE FROM parts WHERE {empty}")


def has_others(cursor: Any, key: SegmentKey) -> bool:
    """Whether anything of a video is on record in a space at a sampling other than the key's."""
    own = [key.video_id, key.space_id, str(key.sampling)]
    of_it = "WHERE video_id = ? AND space_id = ? AND sampling <> ?"
    sql = f"SELECT 1 FROM segments {of_it} UNION ALL SELECT 1 FROM stretches {of_it} LIMIT 1"
    return bool(cursor.execute(sql, [*own, *own]).fetchall())


def discard_others(cursor: Any, key: SegmentKey) -> None:
    """Forget what a video has in a space at samplings other than the key's."""
    sampling = str(key.sampling)
    for table in ("segments", "stretches"):
        cursor.execute(
            f"DELETE FROM {table} WHERE video_id = ? AND space_id = ? AND sampling <> ?",
            [key.video_id, key.space_id, sampling],
        )
    cursor.execute(
        "DELETE FROM holdings WHERE video_id = ? AND sampling <> ?"
        " AND part_id IN (SELECT part_id FROM parts WHERE space_id = ?)",
        [key.video_id, sampling, key.space_id],
    )
    discard_empty(cursor)


def discard_index(cursor: Any, space_id: int) -> None:
    """Forget the saved index of a space; its file is to be deleted."""
    chosen = "FROM indexes WHERE space_id = ?"
    cursor.execute(f"INSERT INTO discarded SELECT path {chosen}", [space_id])
    cursor.execute(f"DELETE {chosen}", [space_id])


def values_of(record: Part | SavedIndex) -> dict[str, Any]:
    """Return a record as columns by name."""
    return {name: getattr(record, name) for name in record.__slots__}


def ensure_segment(cursor: Any, key: SegmentKey, *, shown: bool) -> None:
    """Record a segment unless it is on record."""
    if cursor.execute(f"SELECT 1 FROM segments WHERE {STREAM}", [*key.columns]).fetchall():
        return
    add_segment(cursor, key, shown=shown)


def add_segment(
    cursor: Any, key: SegmentKey, *, shown: bool, num_frames: int | None = None
) -> None:
    """Record a segment that is not on record; with its number of frames it is whole."""
    values = zip(("video_id", "space_id", "sampling", "strategy"), key.columns, strict=True)
    whole = {} if num_frames is None else {"num_frames": num_frames, "finished_at": now()}
    insert(cursor, "segments", {**dict(values), "shown": shown, **whole})


def show(cursor: Any, part: Part, table: pa.Table) -> np.ndarray:
    """Let queries see a part's rows, but no approximate one where an exact one is seen.

    Returns the ids of the rows that are now seen.
    """
    row_ids = row_ids_of(table)
    if not len(row_ids):
        return row_ids
    cursor.register("given", pa.table({"row_id": row_ids}))
    # the range lets DuckDB leave out what it need not read
    same = "space_id = ? AND row_id BETWEEN ? AND ? AND row_id IN (SELECT row_id FROM given)"
    where = [part.space_id, int(row_ids.min()), int(row_ids.max())]
    found = cursor.execute(f"SELECT row_id, exact FROM stored_frames WHERE {same}", where)
    there = found.fetchnumpy()
    wins = table.column("exact").to_numpy() | ~np.isin(row_ids, there["row_id"][there["exact"]])
    if len(there["row_id"]):
        cursor.register("given", pa.table({"row_id": row_ids[wins]}))
        cursor.execute(f"DELETE FROM stored_frames WHERE {same}", where)
    return add_rows(cursor, part, table.filter(pa.array(wins)))


def add_rows(cursor: Any, part: Part, table: pa.Table) -> np.ndarray:
    """Let queries see rows of a part of which none is seen yet; return their ids."""
    row_ids = row_ids_of(table)
    columns = {
        "space_id": np.full(len(row_ids), part.space_id, np.int32),
        "row_id": row_ids,
        "part_id": np.full(len(row_ids), part.part_id, np.int64),
        "version": np.full(len(row_ids), next_id(cursor, "versions"), np.int64),
    }
    own = [name for name in tables.STORED_FRAMES.names if name not in columns]
    columns |= {name: table.column(name) for name in own}
    cursor.register("given", pa.table(columns).select(tables.STORED_FRAMES.names))
    cursor.execute("INSERT INTO stored_frames BY NAME SELECT * FROM given")
    return row_ids


def delete_videos(cursor: Any, video_ids: Sequence[int]) -> None:
    """Take videos out of every table that knows them."""
    if not video_ids:
        return
    said = "SELECT path FROM transcripts WHERE video_id IN (SELECT unnest(?::BIGINT[]))"
    cursor.execute(f"INSERT INTO discarded {said}", [list(video_ids)])
    for table in _OF_A_VIDEO:
        cursor.execute(f"DELETE FROM {table} WHERE video_id IN (SELECT unnest(?))", [video_ids])
    discard_empty(cursor)


def give_name(cursor: Any, name: str, video_id: int, path: str) -> None:
    """Let a name stand for a video; whose first name it was goes by its next."""
    cursor.execute("DELETE FROM aliases WHERE name = ? AND video_id <> ?", [name, video_id])
    if cursor.execute("SELECT 1 FROM aliases WHERE name = ?", [name]).fetchall():
        update(cursor, "aliases", {"path": path}, "name = ?", [name])
    else:
        values = {"name": name, "video_id": video_id, "path": path, "added_at": now()}
        insert(cursor, "aliases", values)
    robbed = "SELECT video_id FROM videos WHERE name = ? AND video_id <> ?"
    for (other,) in cursor.execute(robbed, [name, video_id]).fetchall():
        following = "SELECT name, path FROM aliases WHERE video_id = ? ORDER BY added_at, name"
        first = cursor.execute(following, [other]).fetchall()[0]
        update(cursor, "videos", {"name": first[0], "path": first[1]}, "video_id = ?", [other])
