"""Requests and responses of `POST /query` and `POST /sql`."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Mode = Literal["retrieval", "qa", "grounded_qa"]
GroupBy = Literal["frame", "moment", "video"]


class Strict(BaseModel):
    """A request: a field that is not known is an error, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class QueryOptions(Strict):
    """How a query runs."""

    exact: bool | None = Field(None, description="refine approximate rows; null: as configured")
    refine_frames: int | None = Field(
        None, ge=0, lt=2**63, description="at most so many frames re-embedded"
    )
    refine_seconds: float | None = Field(None, gt=0, description="at most so long")
    explain: bool = Field(False, description="return the plan")


class QueryRequest(Strict):
    """A text to look for, or a question to answer."""

    text: str = Field(min_length=1, max_length=2000)
    videos: list[Annotated[int, Field(ge=0, lt=2**63)] | str] | None = Field(
        None, max_length=1000, description="ids, names or globs; null: all"
    )
    mode: Mode = "retrieval"
    choices: list[str] | None = Field(None, min_length=2, max_length=50)
    top_k: int = Field(10, ge=1, le=1000)
    group_by: GroupBy = "moment"
    min_score: float | None = Field(None, ge=-1, le=1)
    options: QueryOptions = QueryOptions()

    @model_validator(mode="after")
    def _choices_are_for_questions(self) -> Self:
        if self.choices is not None and self.mode == "retrieval":
            raise ValueError("choices need mode qa or grounded_qa")
        return self


class MomentOut(BaseModel):
    """A stretch of a video that matches."""

    video_id: int
    name: str
    start_seconds: float
    stop_seconds: float
    peak_seconds: float
    score: float
    thumbnail_url: str
    clip_url: str


class AnswerOut(BaseModel):
    """An answer with the seconds that hold its evidence."""

    text: str
    confidence: float
    choice: int | None
    scores: dict[str, float] = Field(description="probability of each choice")
    how: str = Field(description="what chose it: a trained head, or similarity")
    evidence: list[MomentOut]


class QueryResponse(BaseModel):
    """Moments, best first, and the answer where one was asked for."""

    moments: list[MomentOut]
    answer: AnswerOut | None = None
    coverage: dict[str, Any] = Field(description="what was searched, and how exact the order is")
    plan: str | None = None
    timing: dict[str, float] = Field(description="seconds by stage")


class SqlRequest(Strict):
    """One SELECT over videos, gops, frames and moments."""

    sql: str = Field(min_length=1, max_length=100_000)
    params: dict[str, Any] | list[Any] | None = None
    options: dict[str, Any] = Field(default_factory=dict)
