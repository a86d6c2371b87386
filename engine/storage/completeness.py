"""How much of each video is embedded: the one place that ls, verify, queries and ingests ask."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from engine.storage.database import Database
from engine.storage.sampling import Sampling

State = Literal["complete", "coarse", "partial", "none", "registered", "quarantined"]
# a stretch that covers nothing holds the first row of each of its groups of pictures
COARSE = "SELECT DISTINCT video_id FROM stretches WHERE stop_seconds = start_seconds AND space_id"


@dataclass(frozen=True, slots=True)
class VideoCompleteness:
    """One video in one space.

    `complete`: every row that was planned is seen. `coarse`: of some groups of pictures there is
    one row alone, as was asked for. `partial`: some are missing. `none`: it was to
    be embedded and has no rows. `registered`: nobody asked for rows yet. `quarantined`: it cannot
    be used, and is not counted as complete.
    """

    video_id: int
    name: str
    state: State
    sampling: Sampling | None  # of the rows that are seen
    planned: int | None  # rows that the sampling gives in all; None until all have been there
    embedded: int  # rows that are seen and can be read
    reason: str | None  # why it is not complete, in a line

    @property
    def lacks_rows(self) -> bool:
        """Whether an answer is drawn from less than the video should give."""
        return self.state in ("coarse", "partial", "none")


def completeness(
    database: Database,
    space_id: int,
    *,
    video_ids: Sequence[int] | None = None,
    unreadable: Sequence[int] = (),
) -> list[VideoCompleteness]:
    """Return how far videos are in a space, by id; rows in `unreadable` parts do not count."""
    parameters = [space_id, list(unreadable), None if video_ids is None else list(video_ids)]
    return [_judge(*row) for row in database.all(f"{_EACH} ORDER BY video_id", parameters)]


def states(database: Database, space_id: int, unreadable: Sequence[int]) -> dict[State, int]:
    """Return how many videos are how far in a space; cheaper than all about each."""
    rows = database.all(
        "SELECT status, any_value(sampling), coalesce(embedded < planned, FALSE) AS short,"
        f" finished, begun, count(*) FROM ({_EACH}) GROUP BY status, sampling IS NULL, short,"
        " finished, begun ORDER BY ALL",
        [space_id, list(unreadable), None],
    )
    found = Counter[State]()
    for status, sampling, short, *done, count in rows:
        found[_judge(0, "", status, None, sampling, int(short), done[0], 0, done[1]).state] += count
    return dict(found)


_EACH = (
    "WITH seen AS (SELECT video_id, count(*) AS embedded FROM stored_frames WHERE space_id = $1"
    " AND part_id NOT IN (SELECT unnest($2::BIGINT[])) AND ($3::BIGINT[] IS NULL OR"
    " video_id IN (SELECT unnest($3::BIGINT[]))) GROUP BY video_id),"
    " shown AS (SELECT video_id, any_value(sampling) AS sampling, max(num_frames) AS planned,"
    " bool_or(finished_at IS NOT NULL) AS finished FROM segments"
    " WHERE space_id = $1 AND shown GROUP BY video_id),"
    f" begun AS ({COARSE} = $1)"
    " SELECT video_id, name, status, error, sampling, planned, coalesce(finished, FALSE) AS"
    " finished, coalesce(seen.embedded, 0) AS embedded, video_id IN (FROM begun) AS begun"
    " FROM videos LEFT JOIN shown USING (video_id) LEFT JOIN seen USING (video_id)"
    " WHERE $3::BIGINT[] IS NULL OR video_id IN (SELECT unnest($3::BIGINT[]))"
)


@dataclass(frozen=True, slots=True)
class Lacking:
    """The videos that give fewer rows than they should: how many, and what is known of some."""

    count: int
    first: list[VideoCompleteness]  # those with the least ids


def damaged(database: Database, space_id: int, unreadable: Sequence[int]) -> list[int]:
    """Return the videos that lack rows since these parts cannot be read."""
    if not unreadable:
        return []
    holding = "SELECT video_id FROM holdings WHERE part_id IN (SELECT unnest(?::BIGINT[]))"
    doubtful = [row[0] for row in database.all(holding, [list(unreadable)])]
    found = completeness(database, space_id, video_ids=doubtful, unreadable=unreadable)
    return [item.video_id for item in found if item.lacks_rows]


def coarse(database: Database, space_id: int) -> set[int]:
    """Return the videos of which some groups of pictures have one row alone."""
    rows = database.all(f"{COARSE} = ?", [space_id])
    return {int(row[0]) for row in rows} - settled(database, space_id)


def settled(database: Database, space_id: int) -> set[int]:
    """Return the videos that cannot or need not be embedded in a space."""
    rows = database.all(
        "SELECT video_id FROM segments WHERE space_id = ? AND shown AND finished_at IS NOT NULL"
        " UNION SELECT video_id FROM videos WHERE status = 'quarantined'",
        [space_id],
    )
    return {int(row[0]) for row in rows}


def _judge(
    video_id: int,
    name: str,
    status: str,
    error: str | None,
    sampling: str | None,
    planned: int | None,
    finished: bool,
    embedded: int,
    coarse: bool,
) -> VideoCompleteness:
    state, reason = _state(status, error, sampling, planned, finished, embedded)
    if coarse and state == "partial" and not finished:
        said = f"coarse, {embedded} rows so far; queries embed where the answer may be, deepen all"
        state, reason = "coarse", said
    seen = None if sampling is None else Sampling.parse(sampling)
    return VideoCompleteness(video_id, name, state, seen, planned, embedded, reason)


def _state(
    status: str,
    error: str | None,
    sampling: str | None,
    planned: int | None,
    finished: bool,
    embedded: int,
) -> tuple[State, str | None]:
    if status == "quarantined":
        return "quarantined", error
    if sampling is None:
        if status == "registered":
            return "registered", "not embedded yet"
        return "none", "not embedded; ingest it again"
    if not finished:
        return "partial", f"not finished, {embedded} rows so far; ingest it again"
    if planned is not None and embedded < planned:
        missing = planned - embedded
        return "partial", f"{missing} of {planned} rows are missing; ingest it again"
    return "complete", None
