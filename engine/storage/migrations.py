"""How a catalog of an earlier format becomes one of the present format."""

from collections.abc import Callable, Mapping
from typing import Any, Final

SCHEMA_VERSION: Final = "4"

_SHARED_STREAM = "USING (video_id, space_id, sampling)"
# a part of which no row is seen, hidden or overlaid, is held to have every stretch: too much is
# embedded anew when it is damaged, never too little
_FROM_1 = (
    "CREATE TABLE holdings (part_id BIGINT NOT NULL, video_id BIGINT NOT NULL,"
    " sampling VARCHAR NOT NULL, strategy VARCHAR, stretch INTEGER)",
    "INSERT INTO holdings SELECT part_id, video_id, sampling, NULL, NULL FROM parts",
    "CREATE TEMP TABLE reach AS SELECT part_id, min(seconds) AS first, max(seconds) AS last"
    " FROM stored_frames GROUP BY part_id",
    "INSERT INTO holdings SELECT p.part_id, p.video_id, p.sampling, s.strategy, s.stretch"
    f" FROM parts p JOIN stretches s {_SHARED_STREAM} LEFT JOIN reach r USING (part_id)"
    " WHERE p.kind <> 'overlay' AND (r.first IS NULL OR"
    " (s.start_seconds <= r.last + 1e-6 AND s.stop_seconds > r.first - 1e-6))",
    "DELETE FROM holdings WHERE stretch IS NULL AND part_id IN"
    " (SELECT part_id FROM holdings WHERE stretch IS NOT NULL)",
    "DROP TABLE reach",
    "ALTER TABLE parts DROP COLUMN video_id",
    "ALTER TABLE parts DROP COLUMN sampling",
    "ALTER TABLE parts ADD COLUMN format INTEGER DEFAULT 1",
    "ALTER TABLE parts ALTER COLUMN format DROP DEFAULT",
    "ALTER TABLE parts ALTER COLUMN format SET NOT NULL",
    "CREATE TABLE discarded (path VARCHAR NOT NULL)",
    "ALTER TABLE calibration RENAME TO calibration_1",
    "CREATE TABLE calibration (space_id INTEGER NOT NULL, kind VARCHAR NOT NULL,"
    " value JSON NOT NULL, updated_at TIMESTAMP NOT NULL)",
    "INSERT INTO calibration SELECT space_id, unnest(json_keys(value)),"
    " json_extract(value, '$.' || unnest(json_keys(value))), updated_at FROM calibration_1",
    "DROP TABLE calibration_1",
)
_FROM_2 = (
    "ALTER TABLE videos ADD COLUMN recorded_at TIMESTAMP",
    "ALTER TABLE videos ADD COLUMN recorded_from VARCHAR",
    "CREATE TABLE user_columns (name VARCHAR NOT NULL, kind VARCHAR NOT NULL)",
    "CREATE TABLE cells (video_id BIGINT NOT NULL, name VARCHAR NOT NULL, value VARCHAR NOT NULL)",
    "CREATE TABLE saved_views (name VARCHAR NOT NULL, sql VARCHAR NOT NULL,"
    " created_at TIMESTAMP NOT NULL)",
)
_FROM_3 = (
    "CREATE TABLE transcripts (part_id BIGINT NOT NULL, video_id BIGINT NOT NULL,"
    " source VARCHAR NOT NULL, language VARCHAR, digest VARCHAR NOT NULL, path VARCHAR NOT NULL,"
    " num_lines BIGINT NOT NULL, damaged BIGINT NOT NULL, damage VARCHAR,"
    " size_bytes BIGINT NOT NULL, checksum VARCHAR NOT NULL, added_at TIMESTAMP NOT NULL)",
)
_STEPS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "1": ("2", _FROM_1),
    "2": ("3", _FROM_2),
    "3": ("4", _FROM_3),
}


def migrate(cursor: Any, found: str, *, before: Callable[[], None] = lambda: None) -> str:
    """Bring a catalog to the present format, in the caller's transaction; return the format.

    `before` is called once, ahead of the first change, so that a copy may be kept.
    """
    if found in _STEPS:
        before()
    while found in _STEPS:
        found, statements = _STEPS[found]
        for statement in statements:
            cursor.execute(statement)
        cursor.execute("UPDATE settings SET value = ? WHERE name = 'schema'", [found])
    return found
