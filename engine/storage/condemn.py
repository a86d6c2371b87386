"""A damaged part is forgotten: its stretches count as not embedded, so that an ingest does them."""

import pyarrow as pa

from engine.storage import row_id
from engine.storage.database import Database
from engine.storage.records import Part
from engine.storage.sampling import Sampling

_HELD = (
    "FROM holdings h WHERE h.part_id = ? AND h.video_id = t.video_id AND h.sampling = t.sampling"
)


def commit_condemned(database: Database, part: Part, reason: str) -> None:
    """Forget a part with its rows and its stretches, and that their segments were whole."""
    with database.transaction() as cursor:
        of_space = [part.space_id, part.part_id]
        cursor.execute(
            f"UPDATE segments t SET num_frames = NULL, finished_at = NULL WHERE space_id = ?"
            f" AND EXISTS (SELECT 1 {_HELD} AND h.stretch IS NOT NULL)",
            of_space,
        )
        cursor.execute(
            f"DELETE FROM stretches t WHERE space_id = ? AND EXISTS (SELECT 1 {_HELD}"
            " AND h.strategy = t.strategy AND h.stretch = t.stretch)",
            of_space,
        )
        cursor.execute(
            "UPDATE videos SET status = 'ingesting', error = ? WHERE status = 'ready' AND video_id"
            " IN (SELECT video_id FROM holdings WHERE part_id = ? AND stretch IS NOT NULL)",
            [reason, part.part_id],
        )
        cursor.execute("DELETE FROM stored_frames WHERE space_id = ? AND part_id = ?", of_space)
        for table in ("holdings", "parts"):
            cursor.execute(f"DELETE FROM {table} WHERE part_id = ?", [part.part_id])


def commit_shortfall(
    database: Database, space_id: int, video_id: int, sampling: Sampling, lost: row_id.Ids
) -> None:
    """Count no stretch of a video as embedded where rows of it are seen nowhere any more."""
    own = lost[row_id.videos_of(lost) == video_id]
    stream = [video_id, space_id, str(sampling)]
    with database.transaction() as cursor:
        cursor.register("given", pa.table({"row_id": own}))
        left = cursor.execute(
            "SELECT count(*) FROM given ANTI JOIN (SELECT row_id FROM stored_frames"
            " WHERE space_id = ? AND video_id = ?) USING (row_id)",
            [space_id, video_id],
        ).fetchall()
        if left == [(0,)]:
            return
        where = "video_id = ? AND space_id = ? AND sampling = ?"
        cursor.execute(f"DELETE FROM stretches WHERE {where}", stream)
        cursor.execute(
            f"UPDATE segments SET num_frames = NULL, finished_at = NULL WHERE {where}", stream
        )
        cursor.execute(
            "UPDATE videos SET status = 'ingesting' WHERE video_id = ? AND status = 'ready'",
            [video_id],
        )
