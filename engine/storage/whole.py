"""Whether all of a video is there, told from its stretches and rows alone."""

from engine.storage.database import Database, now, update
from engine.storage.records import SegmentKey

_TOLERANCE_SECONDS = 1e-6


def commit_whole(
    database: Database,
    key: SegmentKey,
    timeline: tuple[float, float, int] | None,
    planned: int | None,
) -> None:
    """Mark a segment as finished where no row is missing.

    Its sampling covers the video, or it has as many rows as were planned. Where rows are missing no
    stretch counts, so that an ingest embeds them anew.
    """
    of_it, stream = "video_id = ? AND space_id = ?", [key.video_id, key.space_id]
    sampled, sampling = f"{of_it} AND sampling = ?", [*stream, str(key.sampling)]
    shown = database.one(f"SELECT 1 FROM segments WHERE {sampled} AND shown", sampling)
    span = timeline or database.one(
        "SELECT min(start_seconds), max(stop_seconds) FROM gops WHERE video_id = ?", [key.video_id]
    )
    if shown is None or span is None or (span[0] is None and planned is None):
        return
    rows = database.all(
        "SELECT start_seconds, stop_seconds, max(num_frames) FROM stretches"
        f" WHERE {sampled} GROUP BY ALL ORDER BY start_seconds",
        sampling,
    )
    found = database.one(f"SELECT count(*) FROM stored_frames WHERE {of_it}", stream)
    seen, written = int(found[0]) if found else 0, sum(count for _, _, count in rows)
    whole = planned is not None and written >= planned
    if span[0] is not None:
        reached = span[0]
        for start, stop, _ in rows:
            if start > reached + _TOLERANCE_SECONDS:
                break
            reached = max(reached, stop)
        whole |= reached >= span[1] - _TOLERANCE_SECONDS
    with database.transaction() as cursor:
        if seen < written:
            cursor.execute(f"DELETE FROM stretches WHERE {sampled}", sampling)
        elif whole:
            finished = {"num_frames": seen, "finished_at": now()}
            update(cursor, "segments", finished, sampled, sampling)
            ready = {"status": "ready", "error": None}
            update(cursor, "videos", ready, "video_id = ? AND status = 'ingesting'", [key.video_id])
