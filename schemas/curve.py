"""The responses of `/videos/{id}/curve` and `/videos/{id}/activity`."""

from pydantic import BaseModel, ConfigDict, Field

from schemas.query import example


class CurveOut(BaseModel):
    """How a video's frames score for a text, in the order of their times."""

    model_config = ConfigDict(
        json_schema_extra=example(
            video_id=1, duration_seconds=61.2, seconds=[0.0, 0.5, 1.0], scores=[0.21, 0.24, 0.31]
        )
    )

    video_id: int
    duration_seconds: float | None = Field(description="the video's")
    seconds: list[float] = Field(description="of the best frame of each stretch")
    scores: list[float] = Field(description="its cosine with the text")


class ActivityOut(BaseModel):
    """How much a video changes over its time."""

    model_config = ConfigDict(
        json_schema_extra=example(
            video_id=1, duration_seconds=61.2, seconds=[0.0, 0.5, 1.0], change=[0.0, 0.02, 0.31]
        )
    )

    video_id: int
    duration_seconds: float | None = Field(description="the video's")
    seconds: list[float] = Field(description="of the frame of each stretch that changes most")
    change: list[float] = Field(description="1 - cosine of it and the embedded frame before it")
