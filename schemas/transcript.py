"""What is said in videos: requests and responses."""

from datetime import datetime
from typing import Annotated

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field

from schemas.query import Strict, example


class VideosIn(Strict):
    """Some videos, or all."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra=example(videos=["holiday*"])
    )

    videos: list[Annotated[int, Field(ge=0, lt=2**63)] | str] | None = Field(
        None, max_length=1000, description="ids, names or globs; null: all"
    )


class SubtitlesIn(Strict):
    """A file of subtitles."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra=example(name="street.en.srt", content="MQowMDowMDowMCwwMDAgLS0+IDA="),
    )

    name: str = Field(
        min_length=1,
        max_length=255,
        pattern=r"^[^/\\\x00]+$",
        description="the file's, .srt or .vtt",
    )
    content: Base64Bytes = Field(description="its bytes, in base64")
    language: str | None = Field(None, max_length=40, description="null: as its name tells")
    encoding: str | None = Field(None, max_length=40, description="null: as its bytes tell")


class SourceIn(Strict):
    """Which source of lines."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra=example(source="street.en.srt")
    )

    source: str | None = Field(None, max_length=1000, description="as it is listed; null: all")


class TakenOut(BaseModel):
    """What became of one source of lines."""

    model_config = ConfigDict(
        json_schema_extra=example(
            source="street.en.srt", lines=12, damaged=0, damage=None, language="en", fresh=True,
            error=None,
        )
    )  # fmt: skip

    source: str = Field(description="a file's name, or a stream of the video's")
    lines: int = Field(description="how many it has")
    damaged: int = Field(description="cues of which something could not be read")
    damage: str | None = Field(description="the first")
    language: str | None = Field(description="where it is known")
    fresh: bool = Field(description="read now; else it was stored already")
    error: str | None = Field(description="why nothing could be read")


class ScannedOut(BaseModel):
    """What was read of one video."""

    model_config = ConfigDict(json_schema_extra=example(video="street.mp4", taken=[]))

    video: str = Field(description="its name")
    taken: list[TakenOut] = Field(description="a source each")


class RemovedOut(BaseModel):
    """What was forgotten."""

    model_config = ConfigDict(json_schema_extra=example(removed=1))

    removed: int = Field(description="sources of lines")


class TranscriptOut(BaseModel):
    """The lines of one source of a video."""

    model_config = ConfigDict(
        json_schema_extra=example(
            part_id=1, video_id=1, source="street.en.srt", language="en", digest="9f…",
            num_lines=12, damaged=0, damage=None, size_bytes=2048, checksum="4a…",
            added_at="2026-11-30T12:00:00",
        )
    )  # fmt: skip

    part_id: int
    video_id: int
    source: str = Field(description="a file's name, or a stream of the video's")
    language: str | None = Field(description="where it is known")
    digest: str = Field(description="of what was read")
    num_lines: int = Field(description="how many it has")
    damaged: int = Field(description="cues of which something could not be read")
    damage: str | None = Field(description="the first")
    size_bytes: int = Field(description="as stored")
    checksum: str = Field(description="of what is stored")
    added_at: datetime = Field(description="in UTC")
