"""Responses of `/jobs`."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.query import example
from schemas.times import Instant

Status = Literal["queued", "running", "ready", "failed", "cancelled"]


class JobVideo(BaseModel):
    """A video that a job brings in."""

    name: str = Field(description="of the file or folder; once it is stored, the video's own")
    id: int | None = Field(description="null until it is stored")


class JobOut(BaseModel):
    """Work in the background, as it stands."""

    model_config = ConfigDict(
        json_schema_extra=example(
            id="4f1c9a",
            kind="ingest",
            status="running",
            videos=[{"name": "street.mp4", "id": None}],
            progress={"stage": "encode", "frames": 120, "expected": 480, "fraction": 0.25},
            error=None,
            created_at="2026-03-01T12:00:00Z",
            started_at="2026-03-01T12:00:01Z",
            finished_at=None,
        )
    )

    id: str
    kind: str = Field(
        description="ingest, deepen, migrate, or compact, which the server asks for itself"
    )
    status: Status = Field(description="the last three are final")
    videos: list[JobVideo] = Field(description="that it brings in")
    progress: dict[str, Any] = Field(description="stage, frames, frames_per_second, fraction, …")
    error: str | None = Field(description="why it failed")
    created_at: Instant = Field(description="when it was asked for")
    started_at: Instant | None = Field(description="null while it waits")
    finished_at: Instant | None = Field(description="null until it has ended")
