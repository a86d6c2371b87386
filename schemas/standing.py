"""Requests and responses of `/standing` and `/alerts`."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from schemas.job import Status
from schemas.query import Strict, example
from schemas.times import Instant

_QUERY: dict[str, Any] = {"name": "dogs", "text": "a dog at the gate", "min_score": None}
_QUERY |= {"where": "camera = 'gate'", "url": "https://example.com/hook", "gap_seconds": 5.0}


class StandingIn(Strict):
    """What is to be looked for in every video that comes in."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra=example(**_QUERY, secret="of your own")
    )

    name: str = Field(
        min_length=1, max_length=80, pattern=r"^[\w.-]+$", description="that it goes by"
    )
    text: str = Field(min_length=1, max_length=2000, description="to look for")
    min_score: float | None = Field(
        None, ge=-1, le=1, description="the least cosine; null: a match has to be clear"
    )
    where: str | None = Field(
        None, min_length=1, max_length=2000, description="a condition on columns of videos, in SQL"
    )
    url: str | None = Field(
        None, min_length=1, max_length=2000, description="that is told; null: alerts are listed"
    )
    secret: str | None = Field(
        None, min_length=8, max_length=200, description="what is told is signed with"
    )
    gap_seconds: float = Field(
        5.0, ge=0, le=86_400, description="matches of a camera that follow so soon are one alert"
    )


class StandingOut(BaseModel):
    """A query that stands."""

    model_config = ConfigDict(json_schema_extra=example(**_QUERY, signed=True))

    name: str
    text: str = Field(description="that is looked for")
    min_score: float | None = Field(description="the least cosine; null: a match has to be clear")
    where: str | None = Field(description="a condition on columns of videos, in SQL")
    url: str | None = Field(description="that is told; null: nobody, or the key only reads")
    signed: bool = Field(description="whether there is a secret; it is not told")
    gap_seconds: float = Field(description="matches of a camera that follow so soon are one alert")


class AlertVideo(BaseModel):
    """The video of an alert."""

    model_config = ConfigDict(json_schema_extra=example(id=1, name="gate-2026.mkv"))

    id: int
    name: str = Field(description="as it was called then")


class AlertMoment(BaseModel):
    """A stretch of its video that matches."""

    model_config = ConfigDict(
        json_schema_extra=example(
            start_seconds=2.0, stop_seconds=4.5, peak_seconds=3.0, score=0.31, clear=True
        )
    )

    start_seconds: float = Field(description="where it begins")
    stop_seconds: float = Field(description="where it ends")
    peak_seconds: float = Field(description="of its best frame")
    score: float = Field(description="cosine of its best frame and the text")
    clear: bool | None = Field(description="unrelated texts seldom score as high; null: not known")


class AlertOut(BaseModel):
    """What a standing query found in a video; a webhook is sent all up to `moments`."""

    model_config = ConfigDict(
        json_schema_extra=example(
            id="4f1c9a",
            query="dogs",
            text="a dog at the gate",
            video={"id": 1, "name": "gate-2026.mkv"},
            camera="gate",
            recorded_at="2026-03-01T12:00:00Z",
            moments=[
                {
                    "start_seconds": 2.0,
                    "stop_seconds": 4.5,
                    "peak_seconds": 3.0,
                    "score": 0.31,
                    "clear": True,
                }
            ],
            status="ready",
            attempts=1,
            error=None,
            created_at="2026-03-01T12:00:05Z",
        )
    )

    id: str = Field(description="the same in X-Dejavu-Delivery, however often it is tried")
    query: str = Field(description="the name of the standing query")
    text: str = Field(description="that was looked for")
    video: AlertVideo
    camera: str | None = Field(None, description="the video's, by the column of that name")
    recorded_at: Instant | None = Field(description="when the video's first frame was")
    moments: list[AlertMoment] = Field(description="best first, ten at most")
    status: Status = Field(description="queued: to be told; ready: told, or nobody is to be")
    attempts: int = Field(description="to tell it")
    error: str | None = Field(description="why the last one failed")
    created_at: Instant
