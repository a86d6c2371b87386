"""What a part's footer says of its videos and its space, read from the catalog."""

from collections.abc import Sequence
from typing import Any

from engine.storage.database import Database
from engine.storage.entering import JustEntered
from engine.storage.parts import Contents, Piece
from engine.storage.records import Holding

_SPACE = "space_key, name, model, revision, weight_hash, preprocessing, dimension"
_VIDEO = (
    *("video_id", "content_hash", "duration_seconds", "fps", "width", "height"),
    *("codec", "num_frames", "size_bytes", "status"),
)
Rows = dict[int, list[tuple[Any, ...]]]


def describe_space(database: Database, space_id: int) -> dict[str, Any]:
    """Return what makes a space the one that it is; that never changes, and is read once."""

    def read() -> dict[str, Any]:
        found = database.one(f"SELECT {_SPACE} FROM spaces WHERE space_id = ?", [space_id])
        assert found is not None
        return dict(zip(_SPACE.split(", "), found, strict=True))

    return database.known_for_good(("space", space_id), read)


def describe(
    database: Database, space_id: int, held: Sequence[Holding], fresh: Sequence[Piece]
) -> tuple[Contents, ...]:
    """Return what holdings are, video by video.

    `fresh` are stretches not yet on record; without any, those of the holdings are looked up.
    """
    if fresh and (just := database.entered.get(held[0].video_id)):
        return (_just_entered(database, space_id, held[0], just, fresh),)
    streams = dict.fromkeys((item.video_id, str(item.sampling)) for item in held)
    ids = sorted({video_id for video_id, _ in streams})
    videos = _by_video(database, f"SELECT video_id, {', '.join(_VIDEO)} FROM videos", ids)
    in_use = _is_in_use(database, space_id)
    names = _by_video(database, "SELECT video_id, name, path FROM aliases", ids, "added_at, name")
    timelines = _by_video(
        database,
        "SELECT video_id, min(start_seconds), max(stop_seconds), count(*) FROM gops",
        ids,
        group="video_id",
    )
    planned = _planned(database, space_id, ids)
    pieces = _pieces(database, space_id, held, ids) if not fresh else {}
    gops = _gops(database, ids, fresh)
    contents = []
    for video_id, sampling in streams:
        own = tuple(fresh) or tuple(pieces.get((video_id, sampling), ()))
        video, rows = _video(videos[video_id][0], in_use=in_use), planned.get((video_id, sampling))
        if fresh and rows is None and video["status"] != "ingesting" and not in_use:
            rows = 0  # nobody embeds the video: what a statement asks for is all that is planned
        if rows is not None:
            rows += sum(piece.num_frames for piece in fresh)
        contents.append(
            Contents(
                video,
                tuple((name, path) for name, path in names.get(video_id, [])),
                sampling,
                own,
                tuple(gop for gop in gops.get(video_id, []) if _touches(gop, own)),
                next(iter(timelines.get(video_id, [])), None),
                rows,
            )
        )
    return tuple(contents)


def _just_entered(
    database: Database, space_id: int, held: Holding, just: JustEntered, fresh: Sequence[Piece]
) -> Contents:
    """Return what is known of a video without a look at what it was entered as a moment ago."""
    in_use, values = _is_in_use(database, space_id), {**just.video, "video_id": held.video_id}
    video = _video(tuple(values.get(name) for name in _VIDEO), in_use=in_use)
    rows = None
    if video["status"] != "ingesting" and not in_use:
        rows = sum(piece.num_frames for piece in fresh)
    return Contents(
        video,
        ((just.name, just.video["path"]),),
        str(held.sampling),
        tuple(fresh),
        tuple(gop for gop in just.gops if _touches(gop, fresh)),
        (just.gops[0][1], just.gops[-1][2], len(just.gops)) if just.gops else None,
        rows,
    )


def _video(row: tuple[Any, ...], *, in_use: bool) -> dict[str, Any]:
    """Name the facts of a video; one with rows in the space in use was to be embedded."""
    video = dict(zip(_VIDEO, row, strict=True))
    if in_use and video["status"] == "registered":
        video["status"] = "ingesting"
    return video


def _is_in_use(database: Database, space_id: int) -> bool:
    found = database.one("SELECT value FROM settings WHERE name = 'space'")
    return found == (describe_space(database, space_id)["space_key"],)


def _by_video(
    database: Database, select: str, ids: Sequence[int], order: str = "video_id", group: str = ""
) -> Rows:
    grouped = f" GROUP BY {group}" if group else ""
    chosen, given = _among(ids)
    sql = f"{select} WHERE {chosen}{grouped} ORDER BY {order}"
    found: Rows = {}
    for video_id, *values in database.all(sql, given):
        found.setdefault(video_id, []).append(tuple(values))
    return found


def _planned(
    database: Database, space_id: int, ids: Sequence[int]
) -> dict[tuple[int, str], int | None]:
    """Return how many rows streams have in all that are finished."""
    chosen, given = _among(ids)
    sql = f"SELECT video_id, sampling, max(num_frames) FROM segments WHERE {chosen}"
    sql += " AND space_id = ? AND finished_at IS NOT NULL GROUP BY ALL"
    return {(int(v), str(s)): n for v, s, n in database.all(sql, [*given, space_id])}


def _pieces(
    database: Database, space_id: int, held: Sequence[Holding], ids: Sequence[int]
) -> dict[tuple[int, str], list[Piece]]:
    """Return the committed stretches among holdings."""
    wanted = {(item.video_id, str(item.sampling), item.strategy, item.stretch) for item in held}
    chosen, given = _among(ids)
    rows = database.all(
        "SELECT video_id, sampling, strategy, stretch, start_seconds, stop_seconds, num_frames"
        f" FROM stretches WHERE space_id = ? AND {chosen} ORDER BY start_seconds, strategy",
        [space_id, *given],
    )
    found: dict[tuple[int, str], list[Piece]] = {}
    for video_id, sampling, *values in rows:
        if (video_id, sampling, values[0], values[1]) in wanted:
            found.setdefault((video_id, sampling), []).append(Piece(*values))
    return found


def _gops(database: Database, ids: Sequence[int], fresh: Sequence[Piece]) -> Rows:
    """Return the GOPs of videos; where a part is one stretch, only those that it touches."""
    columns = "SELECT video_id, gop, start_seconds, stop_seconds, num_frames, key_pts FROM gops"
    if not fresh:
        return _by_video(database, columns, ids, "gop")
    start = min(piece.start_seconds for piece in fresh)
    stop = max(piece.stop_seconds for piece in fresh)
    chosen, given = _among(ids)
    sql = f"{columns} WHERE {chosen} AND start_seconds < ? AND stop_seconds > ? ORDER BY gop"
    return {ids[0]: [tuple(row[1:]) for row in database.all(sql, [*given, stop, start])]}


def _among(ids: Sequence[int]) -> tuple[str, list[Any]]:
    """Return a condition that chooses videos, and its parameters; of one it costs half as much."""
    if len(ids) == 1:
        return "video_id = ?", [ids[0]]
    return "video_id IN (SELECT unnest(?::BIGINT[]))", [list(ids)]


def _touches(gop: tuple[Any, ...], pieces: Sequence[Piece]) -> bool:
    _, start, stop, *_ = gop
    return any(start < piece.stop_seconds and stop > piece.start_seconds for piece in pieces)
