"""Requests and responses of `/videos`."""

from typing import Any

from pydantic import BaseModel, Field

from schemas.query import Strict
from schemas.times import Instant


class HowIn(Strict):
    """How a video is embedded; what is null is as the server is configured."""

    fps: float | None = Field(None, gt=0, le=240)
    strategy: str | None = None
    max_drift: float | None = Field(None, gt=0, lt=1)
    replace: bool | None = Field(
        None, description="stored rows that are finer, by these; else kept"
    )


class VideoIn(HowIn):
    """A file that the server can already see, inside one of its video roots."""

    path: str = Field(min_length=1, max_length=4096)


class Accepted(BaseModel):
    """Work that goes on after the response."""

    id: str
    job_url: str
    status: str


class VideoOut(BaseModel):
    """A video as the catalog has it."""

    id: int
    name: str
    duration_seconds: float | None
    fps: float | None
    width: int | None
    height: int | None
    codec: str | None
    num_frames: int | None
    ingested_at: Instant
    status: str
    error: str | None
    report: dict[str, Any] | None = Field(description="strategy, reuse, drift and cost of its rows")


class VideoPage(BaseModel):
    """Some videos, and where the next ones begin."""

    videos: list[VideoOut]
    next_cursor: str | None
