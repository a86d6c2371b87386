"""A catalog with many videos of one: what is kept of the first, again under other ids."""

from collections.abc import Sequence

import pyarrow as pa

from engine.storage import row_id
from engine.storage.database import Database

_GIVEN = ("n", "part", "file", "size", "sha")
_MULTIPLY = (
    "INSERT INTO videos SELECT videos.* REPLACE (n AS video_id, n || '.mp4' AS name,"
    " '/' || n || '.mp4' AS path, n::VARCHAR AS content_hash) FROM videos, given",
    "INSERT INTO aliases SELECT aliases.* REPLACE (n AS video_id, n || '.mp4' AS name,"
    " '/' || n || '.mp4' AS path) FROM aliases, given",
    *(
        f"INSERT INTO {table} SELECT {table}.* REPLACE (n AS video_id) FROM {table}, given"
        for table in ("gops", "segments", "stretches")
    ),
    "INSERT INTO holdings SELECT holdings.* REPLACE (n AS video_id, part AS part_id)"
    " FROM holdings, given",
    "INSERT INTO parts SELECT parts.* REPLACE (part AS part_id, file AS path, size AS size_bytes,"
    " sha AS checksum) FROM parts, given",
    "INSERT INTO stored_frames SELECT stored_frames.* REPLACE (n AS video_id, part AS part_id,"
    f" row_id + (n - video_id) * {int(row_id.pack(1, 0))} AS row_id) FROM stored_frames, given",
)


def repeat_video(database: Database, files: Sequence[tuple[int, int, str, int, str]]) -> None:
    """Repeat the only video of a catalog: each file gives an id, its part's id, path, size, sum."""
    given = pa.table(dict(zip(_GIVEN, zip(*files, strict=True), strict=True)))
    with database.transaction() as cursor:
        cursor.register("given", given)
        for statement in _MULTIPLY:
            cursor.execute(statement)
