"""What can be asked of a store: examples that its own content gives."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.query import example


class ExampleOut(BaseModel):
    """One thing to try, which is there."""

    model_config = ConfigDict(
        json_schema_extra=example(
            kind="said", text="camera = 'north'", video_id=None, name=None, seconds=None
        )
    )

    kind: Literal["label", "said", "frame"] = Field(
        description="label: a detector found it; said: a condition that videos meet; frame: to look"
        " for its like"
    )
    text: str = Field(description="the label or the condition; empty of a frame")
    video_id: int | None = Field(description="where it is best seen")
    name: str | None = Field(description="of that video")
    seconds: float | None = Field(description="when")
