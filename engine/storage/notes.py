"""What users have said, beside the catalog: the one thing that no part could give back."""

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from engine.errors import UsageError
from engine.storage.database import Database
from engine.storage.durable import make_folder, set_aside, sync
from engine.storage.layout import Layout
from engine.storage.user_columns import as_kind

_log = logging.getLogger(__name__)
_FORMAT: Final = 2  # 1 had no digest
_DAMAGE: Final = (OSError, ValueError, KeyError, TypeError, AttributeError, UsageError)


def write_notes(layout: Layout, database: Database) -> None:
    """Write users' columns, recording times and views by content, where that is not there yet.

    Notes that are damaged are set aside: the catalog says what is to be in them.
    """
    said = _gathered(database)
    data = (json.dumps(_sealed(said), indent=1, sort_keys=True) + "\n").encode()
    for damage in set_damaged_notes_aside(layout):
        _log.warning("%s", damage)
    known = layout.notes.read_bytes() if layout.notes.exists() else None
    if known == data or (known is None and not any(said.values())):
        return
    temporary = layout.root / ".notes.tmp"
    temporary.write_bytes(data)
    sync(temporary)
    temporary.replace(layout.notes)
    sync(layout.root)


def take_notes(layout: Layout, database: Database) -> list[str]:
    """Give a catalog that was made of parts what users had said; return what could not be given."""
    if not layout.notes.exists():
        return []
    notes = _read(layout.notes)
    known = dict(database.all("SELECT content_hash, video_id FROM videos"))
    lost = [content for content in notes["videos"] if content not in known]
    with database.transaction() as cursor:
        for name, kind in notes["columns"].items():
            cursor.execute("INSERT INTO user_columns VALUES (?, ?)", [name, kind])
        for name, (sql, created_at) in notes["views"].items():
            cursor.execute("INSERT INTO saved_views VALUES (?, ?, ?)", [name, sql, created_at])
        for content, said in notes["videos"].items():
            if content not in known:
                continue
            cursor.execute(
                "UPDATE videos SET recorded_at = ?, recorded_from = ? WHERE video_id = ?",
                [*said["recorded"], known[content]],
            )
            for name, value in said["cells"].items():
                cursor.execute("INSERT INTO cells VALUES (?, ?, ?)", [known[content], name, value])
    if not lost:
        return []
    return [f"columns of {len(lost)} videos without rows are kept in {_keep(layout)} alone"]


def notes_damage(layout: Layout) -> str | None:
    """Return what is wrong with the notes, or None; notes that are not there are not damaged."""
    if not layout.notes.exists():
        return None
    try:
        _read(layout.notes)
    except _DAMAGE as error:
        return f"{layout.notes.name} is damaged ({error})"
    return None


def set_damaged_notes_aside(layout: Layout) -> list[str]:
    """Move notes that are damaged to `lost+found/`; return what was done, in words."""
    damage = notes_damage(layout)
    if damage is None:
        return []
    kept = set_aside(layout.notes, layout.lost_and_found)
    return [f"{damage}; it is kept as {layout.relative(kept)}"]


def _gathered(database: Database) -> dict[str, Any]:
    videos: dict[str, dict[str, Any]] = {}
    recorded = (
        "SELECT content_hash, recorded_at::VARCHAR, recorded_from FROM videos"
        " WHERE content_hash IS NOT NULL AND recorded_at IS NOT NULL"
    )
    for content, when, source in database.all(recorded):
        videos[content] = {"recorded": [when, source], "cells": {}}
    cells = (
        "SELECT content_hash, c.name, c.value FROM cells c JOIN videos USING (video_id)"
        " WHERE content_hash IS NOT NULL"
    )
    for content, name, value in database.all(cells):
        video = videos.setdefault(content, {"recorded": [None, None], "cells": {}})
        video["cells"][name] = value
    views = database.all("SELECT name, sql, created_at::VARCHAR FROM saved_views")
    return {
        "columns": dict(database.all("SELECT name, kind FROM user_columns")),
        "videos": videos,
        "views": {name: [sql, created_at] for name, sql, created_at in views},
    }


def _sealed(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was said with its format and the SHA-256 of all of it."""
    notes = {**said, "format": _FORMAT}
    canonical = json.dumps(notes, sort_keys=True, separators=(",", ":"))
    return {**notes, "sha256": hashlib.sha256(canonical.encode()).hexdigest()}


def _read(path: Path) -> Mapping[str, Any]:
    """Read notes and check all that they say."""
    notes = json.loads(path.read_bytes().decode())
    if notes["format"] not in (1, _FORMAT):
        raise ValueError(f"format {notes['format']}; allowed: 1 and {_FORMAT}")
    digest = notes.pop("sha256", None)
    if (notes["format"], digest) != (1, None) and digest != _sealed(notes)["sha256"]:
        raise ValueError("its digest is another")
    for said in notes["videos"].values():
        as_kind("recorded_at", said["recorded"][0], "timestamp")
        for name, value in said["cells"].items():
            as_kind(name, value, notes["columns"][name])
    for name, (sql, _) in notes["views"].items():
        as_kind(name, sql, "text")
    return dict(notes)


def _keep(layout: Layout) -> str:
    """Copy the notes to where nothing writes over them."""
    make_folder(layout.lost_and_found)
    number = sum(1 for _ in layout.lost_and_found.glob("notes*.json"))
    kept = layout.lost_and_found / f"notes-{number}.json"
    shutil.copyfile(layout.notes, kept)
    sync(kept)
    return layout.relative(kept)
