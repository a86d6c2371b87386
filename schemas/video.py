"""Requests and responses of `/videos`."""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from schemas.columns import Cell
from schemas.query import Strict, example
from schemas.times import Instant

Glob = Annotated[str, Field(min_length=1, max_length=1000)]


class HowIn(Strict):
    """How a video is embedded; what is null is as the server is configured."""

    fps: float | None = Field(None, gt=0, le=240, description="sampled frames a second of video")
    strategy: str | None = Field(
        None, description="auto, or one of dense, earlygate, interpolate, reusevit"
    )
    max_drift: Annotated[float, Field(gt=0, lt=1)] | Literal["none"] | None = Field(
        None, description="the bound: mean of 1 - cosine to dense; none: nothing is promised"
    )
    decode_gate: bool | None = Field(
        None, description="leave groups of pictures undecoded where that keeps the bound"
    )
    replace: bool | None = Field(
        None, description="stored rows that are finer, by these; else kept"
    )
    coverage: Literal["all", "keys", "none"] | None = Field(
        None, description="keys: one frame of each group of pictures; none: only on record"
    )
    columns: dict[str, Cell] | None = Field(
        None,
        max_length=64,
        description="values of the videos in columns of your own, or recorded_at; in a form, JSON",
    )

    @field_validator("columns", mode="before")
    @classmethod
    def _in_a_form_as_text(cls, value: Any) -> Any:
        """Read what a form holds; what is no JSON is refused as any other text is."""
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError:
            return value


class VideoIn(HowIn):
    """A file that the server can already see, inside one of its video roots."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra=example(path="/videos/street.mp4", fps=2)
    )

    path: str = Field(min_length=1, max_length=4096, description="of a file or a folder, or a glob")
    include: list[Glob] = Field(
        default=[], max_length=100, description="only files whose name or folder one matches"
    )
    exclude: list[Glob] = Field(
        default=[], max_length=100, description="no files whose name or folder one matches"
    )


class ExpectedFileOut(BaseModel):
    """What would become of a file."""

    model_config = ConfigDict(
        json_schema_extra=example(
            name="a.mp4", outcome="new", seconds=61.2, frames=123, reason=None
        )
    )

    name: str = Field(description="as it would be called")
    outcome: Literal["new", "resumed", "known", "quarantined"]
    seconds: float = Field(description="that it lasts")
    frames: int = Field(description="to be embedded, at most")
    reason: str | None = Field(description="why it cannot be used")


class ForecastOut(BaseModel):
    """What an ingest would do; nothing was written."""

    model_config = ConfigDict(
        json_schema_extra=example(
            files=[
                {"name": "a.mp4", "outcome": "new", "seconds": 61.2, "frames": 123, "reason": None}
            ],
            seconds=61.2,
            frames=123,
            decode_seconds=1.9,
            encode_seconds=14.0,
            disk_bytes=140_000,
            left_out=[],
        )
    )

    files: list[ExpectedFileOut] = Field(description="in the order in which they are taken")
    seconds: float = Field(description="that those last of which something is to be embedded")
    frames: int = Field(description="to be embedded, at most")
    decode_seconds: float | None = Field(description="of work; null: nothing was measured here yet")
    encode_seconds: float | None = Field(description="of work, likewise")
    disk_bytes: int | None = Field(description="of rows; null: none are stored yet")
    left_out: list[str] = Field(description="links that lead outside of the video roots")


class DeepenIn(Strict):
    """For how long what coarse videos lack is embedded; null: until nothing is left."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=example(seconds=60))

    seconds: float | None = Field(None, gt=0, description="at most")


class MigrateIn(Strict):
    """By which model everything is embedded anew; queries turn to it when all is there."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra=example(to="google/siglip2-base-patch16-224", source=None, remove=False),
    )

    to: str = Field(
        min_length=1,
        max_length=500,
        description="an id of the hub, a folder inside the video roots, or a model that the data"
        " folder has a space of",
    )
    source: str | None = Field(
        None,
        min_length=1,
        max_length=500,
        description="model or key of the space that videos are embedded by so far; null: the one"
        " in use",
    )
    remove: bool = Field(False, description="whether the earlier space goes once queries turned")


class Accepted(BaseModel):
    """Work that goes on after the response."""

    model_config = ConfigDict(
        json_schema_extra=example(id="4f1c9a", job_url="/jobs/4f1c9a", status="queued")
    )

    id: str = Field(description="of the job")
    job_url: str = Field(description="where it is shown; with /events it is followed")
    status: Literal["queued"] = "queued"


class VideoOut(BaseModel):
    """A video as the catalog has it; of a quarantined one much may be null."""

    model_config = ConfigDict(
        json_schema_extra=example(
            id=1,
            name="street.mp4",
            names=["street.mp4", "copy.mp4"],
            content_hash="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            size_bytes=1_048_576,
            duration_seconds=61.2,
            fps=25.0,
            width=1920,
            height=1080,
            codec="h264",
            num_frames=1530,
            ingested_at="2026-03-01T12:00:00Z",
            recorded_at="2026-02-28T08:30:00Z",
            recorded_from="metadata",
            columns={"camera": "north"},
            status="ready",
            source_gone=False,
            source_changed=None,
            error=None,
            report={"strategy": "dense", "reuse_rate": 0.0, "drift": 0.0},
        )
    )

    id: int = Field(description="stays the same for the same content")
    name: str = Field(description="the first of its names")
    names: list[str] = Field(description="all names of this content, the first one included")
    content_hash: str | None = Field(description="sha256 of the file")
    size_bytes: int | None = Field(description="of the file")
    duration_seconds: float | None = Field(description="from the first frame to the last one's end")
    fps: float | None = Field(description="frames a second, as the container says")
    width: int | None = Field(description="pixels, upright")
    height: int | None = Field(description="pixels, upright")
    codec: str | None = Field(description="of the pictures")
    num_frames: int | None = Field(description="in the file, not those embedded")
    ingested_at: Instant = Field(description="when it was first put on record")
    recorded_at: Instant | None = Field(description="when its first frame was recorded")
    recorded_from: str | None = Field(description="who says so: given, name or metadata")
    columns: dict[str, Any] = Field(description="what users have said of it, by their columns")
    status: str = Field(description="registered, ingesting, ready or quarantined")
    source_gone: bool | None = Field(
        description="its file is no longer there: it is found, not shown; null: an object elsewhere"
    )
    source_changed: bool | None = Field(
        description="another object lies at its address than was ingested; null: not asked for, as"
        " in lists and of files"
    )
    error: str | None = Field(description="why it is quarantined")
    report: dict[str, Any] | None = Field(description="strategy, reuse, drift and cost of its rows")


class VideoIds(BaseModel):
    """All videos of a list, by their ids alone."""

    model_config = ConfigDict(json_schema_extra=example(ids=[1, 2, 3]))

    ids: list[int] = Field(description="in the order they came in")


class VideoPage(BaseModel):
    """Some videos, and where the next ones begin."""

    videos: list[VideoOut] = Field(description="in the order they came in")
    next_cursor: str | None = Field(description="give it as cursor; null at the end")
