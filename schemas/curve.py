"""The response of `/videos/{id}/curve`."""

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
