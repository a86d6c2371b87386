"""What a server tells in JSON, as the records that an engine gives."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from engine.storage.records import ColumnKind, Job, Transcript, Video


def video_of(found: Mapping[str, Any], kinds: Mapping[str, ColumnKind]) -> Video:
    """Return the video that is told of; its path is the server's own business."""
    known = {field.name: found[field.name] for field in fields(Video) if field.name in found}
    times = {name: _time(found[name]) for name in ("ingested_at", "recorded_at")}
    columns = found["columns"].items()
    own = {
        "names": tuple(found["names"]),
        "columns": {n: _time(v) if kinds.get(n) == "timestamp" else v for n, v in columns},
    }
    return Video(**{**known, **times, **own, "video_id": found["id"], "path": ""})


def job_of(found: Mapping[str, Any]) -> Job:
    """Return the job that is told of."""
    known = {field.name: found[field.name] for field in fields(Job) if field.name in found}
    times = {name: _time(found[name]) for name in ("created_at", "started_at", "finished_at")}
    return Job(**{**known, **times, "job_id": found["id"], "request": {}})


def transcript_of(found: Mapping[str, Any]) -> Transcript:
    """Return the source of lines that is told of; where it lies is the server's own business."""
    return Transcript(**{**found, "added_at": _time(found["added_at"]), "path": ""})


def _time(text: str | None) -> Any:
    """Read a time as the catalog has it: UTC, without a zone."""
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=None)
