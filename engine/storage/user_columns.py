"""What users say of videos: columns of their own, and when something was recorded."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Final, cast, get_args

import pyarrow as pa

from engine.errors import NotFoundError, UsageError, unknown
from engine.storage.database import Database, insert
from engine.storage.records import CellValue, ColumnKind
from schemas.tables import CLIPS, FRAMES, GOPS, MOMENTS, VIDEOS

MOST_COLUMNS: Final = 64
MOST_CHARACTERS: Final = 2000  # of a value
_OWN: Final = frozenset(
    name for own in (VIDEOS, GOPS, FRAMES, CLIPS, MOMENTS) for name in own.names
)
RESERVED: Final = _OWN | {"folder", "id", "names", "source_gone", "columns"}
ARROW: Final[Mapping[str, pa.DataType]] = {
    "text": pa.string(),
    "number": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us"),
}
_SQL: Final = {"text": "VARCHAR", "number": "DOUBLE", "bool": "BOOLEAN", "timestamp": "TIMESTAMP"}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_WORDS: Final = {"true": True, "false": False}


class UserColumns:
    """Typed access to users' columns; every method may be called from any thread."""

    _database: Database

    def columns(self) -> dict[str, ColumnKind]:
        """Return the columns that users have added to videos, with their kinds, by name."""
        return dict(self._database.all("SELECT name, kind FROM user_columns ORDER BY name"))

    def video_table(self) -> pa.Table:
        """Return all videos by id, as SQL on videos sees them."""
        return wide_videos(self._database)

    def video_names(self) -> Mapping[int, str]:
        """Return the names of all videos by their ids, in the order of these."""

        def read() -> dict[int, str]:
            rows = wide_videos(self._database)
            columns = (rows.column(name).to_pylist() for name in ("video_id", "name"))
            return dict(zip(*columns, strict=True))

        return self._database.kept("names", read)

    def set_values(
        self,
        video_ids: Sequence[int],
        values: Mapping[str, CellValue],
        kinds: Mapping[str, ColumnKind] | None = None,
    ) -> None:
        """Give videos values; None takes one away.

        A column that is not there is made, of the kind given or else of its value's. A text is read
        as what its column holds. `recorded_at` is set like a column.
        """
        kinds = kinds or {}
        given = {name.lower(): value for name, value in values.items()}
        with self._database.writing:
            known = self.columns()
            recorded = "recorded_at" in given
            when = as_kind("recorded_at", given.pop("recorded_at", None), "timestamp")
            made = _new_kinds(given, kinds, known)
            merged = {**known, **made}
            texts = {n: as_text(as_kind(n, v, merged[n])) for n, v in given.items() if n in merged}
            with self._database.transaction() as cursor:
                for name, kind in made.items():
                    insert(cursor, "user_columns", {"name": name, "kind": kind})
                if recorded:
                    source = None if when is None else "given"
                    cursor.execute(
                        "UPDATE videos SET recorded_at = ?, recorded_from = ? WHERE video_id IN"
                        " (SELECT unnest(?::BIGINT[]))",
                        [when, source, list(video_ids)],
                    )
                for name, text in texts.items():
                    _set_cells(cursor, name, text, video_ids)

    def drop_column(self, name: str) -> None:
        """Remove a user's column with all of its values."""
        with self._database.writing:
            if name not in self.columns():
                raise NotFoundError(unknown("column", name, self.columns()))
            with self._database.transaction() as cursor:
                cursor.execute("DELETE FROM cells WHERE name = ?", [name])
                cursor.execute("DELETE FROM user_columns WHERE name = ?", [name])


def read_cells(text: str | None, kinds: Mapping[str, ColumnKind]) -> dict[str, Any]:
    """Return a video's values from the JSON of its cells."""
    cells = json.loads(text) if text else {}
    return {name: as_kind(name, cells[name], kinds[name]) for name in sorted(cells)}


def wide_videos(database: Database) -> pa.Table:
    """Return all videos by id with their folder and users' columns, as SQL on videos sees them."""
    return database.kept("videos", lambda: _wide_videos(database))


def _wide_videos(database: Database) -> pa.Table:
    kinds = dict(database.all("SELECT name, kind FROM user_columns ORDER BY name"))
    chosen, joined = [], []
    for place, (name, kind) in enumerate(kinds.items()):
        chosen.append(f', c{place}.value::{_SQL[kind]} AS "{name}"')
        joined.append(
            f" LEFT JOIN cells c{place} ON c{place}.video_id = v.video_id"
            f" AND c{place}.name = '{name}'"
        )
    return database.table(
        "SELECT v.*, parse_dirpath(v.path) AS folder,"
        f" parse_dirpath(v.name) AS folder_in_name{''.join(chosen)}"
        f" FROM videos v{''.join(joined)} ORDER BY v.video_id"
    )


def check_column_name(name: str) -> None:
    """Raise UsageError unless a user's column may be called so."""
    if name in RESERVED:
        raise UsageError(f"column {name!r} is the store's own; allowed: another name")
    if not _NAME.fullmatch(name):
        expected = "up to 63 lower-case letters, digits and _, a letter first"
        raise UsageError(f"column {name[:80]!r}; allowed: {expected}")


def checked_kind(given: str) -> ColumnKind:
    """Return a kind by its name; raises UsageError for what is none."""
    for kind in get_args(ColumnKind):
        if kind == given:
            return cast(ColumnKind, kind)
    raise UsageError(unknown("kind", given, get_args(ColumnKind)))


def kind_of_text(text: str) -> ColumnKind:
    """Say what a text looks like that was typed where no kind is known."""
    if text.lower() in _WORDS:
        return "bool"
    kinds: tuple[ColumnKind, ...] = ("number", "timestamp")
    for kind in kinds:
        try:
            as_kind("", text, kind)
        except UsageError:
            continue
        return kind
    return "text"


def as_kind(name: str, value: CellValue, kind: ColumnKind) -> CellValue:
    """Return a value as one of a kind; a text is read as one."""
    if value is None:
        return None
    try:
        return _READ[kind](value)
    except (ValueError, TypeError, OverflowError) as error:
        said = f"column {name} holds {_TOLD[kind]}, got {str(value)[:80]!r}"
        raise UsageError(said) from error


def as_text(value: CellValue) -> str | None:
    """Return a value as the catalog keeps it."""
    if isinstance(value, datetime):
        return value.isoformat()
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text(value: CellValue) -> str:
    if not isinstance(value, str):
        raise TypeError
    if len(value) > MOST_CHARACTERS or "\0" in value:
        raise ValueError
    return value


def _number(value: CellValue) -> float:
    if isinstance(value, (bool, datetime)) or value is None:
        raise TypeError
    number = float(value)
    if not isfinite(number) or (isinstance(value, str) and "_" in value):
        raise ValueError
    return number


def _bool(value: CellValue) -> bool:
    if isinstance(value, str):
        if value.lower() not in _WORDS:
            raise ValueError
        return _WORDS[value.lower()]
    if not isinstance(value, bool):
        raise TypeError
    return value


def _timestamp(value: CellValue) -> datetime:
    """Read an instant as UTC without a zone: one that names no zone is UTC already."""
    when = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(when, datetime):
        raise TypeError
    return when.astimezone(UTC).replace(tzinfo=None) if when.tzinfo else when


_READ: Final[Mapping[str, Any]] = {
    "text": _text, "number": _number, "bool": _bool, "timestamp": _timestamp,
}  # fmt: skip
_TOLD: Final = {
    "text": f"texts of at most {MOST_CHARACTERS:,} characters",
    "number": "finite numbers",
    "bool": "true or false",
    "timestamp": "days and instants, as 2026-03-01T14:30",
}


def _new_kinds(
    given: Mapping[str, CellValue],
    kinds: Mapping[str, ColumnKind],
    known: Mapping[str, ColumnKind],
) -> dict[str, ColumnKind]:
    """Return the columns that are to be made; what takes nothing away from nothing makes none."""
    for name, kind in kinds.items():
        checked_kind(kind)
        if known.get(name, kind) != kind:
            raise UsageError(f"column {name} holds {known[name]}, not {kind}; drop it first")
        if name not in given:
            raise UsageError(f"kind of {name}, which has no value; allowed: {', '.join(given)}")
    made: dict[str, ColumnKind] = {}
    for name, value in given.items():
        if name not in known:
            check_column_name(name)
        if name not in known and value is not None:
            made[name] = kinds.get(name) or _kind_of(name, value)
    if len(known) + len(made) > MOST_COLUMNS:
        raise UsageError(f"{len(known) + len(made)} columns; allowed: {MOST_COLUMNS}")
    return made


def _kind_of(name: str, value: CellValue) -> ColumnKind:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "text"
    if isinstance(value, datetime):
        return "timestamp"
    if isinstance(value, (int, float)):
        return "number"
    given = f"column {name} got a {type(value).__name__}"
    raise UsageError(f"{given}; allowed: text, number, true or false, datetime")


def _set_cells(cursor: Any, name: str, text: str | None, video_ids: Sequence[int]) -> None:
    listed = list(video_ids)
    cursor.execute(
        "DELETE FROM cells WHERE name = ? AND video_id IN (SELECT unnest(?::BIGINT[]))",
        [name, listed],
    )
    if text is not None:
        cursor.execute(
            "INSERT INTO cells SELECT video_id, ?, ? FROM videos WHERE video_id IN"
            " (SELECT unnest(?::BIGINT[]))",
            [name, text, listed],
        )
