"""Responses of `/jobs`."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from schemas.times import Instant

Status = Literal["queued", "running", "ready", "failed", "cancelled"]


class JobVideo(BaseModel):
    """A video that a job brings in."""

    name: str = Field(description="of the file or folder; once it is stored, the video's own")
    id: int | None = Field(description="null until it is stored")


class JobOut(BaseModel):
    """Work in the background, as it stands."""

    id: str
    kind: str
    status: Status
    videos: list[JobVideo]
    progress: dict[str, Any] = Field(description="stage, frames, frames_per_second, fraction, …")
    error: str | None
    created_at: Instant
    started_at: Instant | None
    finished_at: Instant | None
