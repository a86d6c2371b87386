"""Requests and responses of `POST /query` and `POST /sql`."""

from typing import Annotated, Any, Literal, Self

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, model_validator

from schemas.letters import half_letter

Mode = Literal["retrieval", "qa", "grounded_qa"]
GroupBy = Literal["frame", "moment", "video"]
Signal = Literal["image", "words"]


def example(**values: Any) -> dict[str, Any]:
    """Give a model one example, for the API's description."""
    return {"examples": [values]}


class Strict(BaseModel):
    """A request: a field that is not known is an error, not ignored; every text is whole."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _has_whole_letters(cls, given: Any) -> Any:
        if (text := half_letter(given)) is not None:
            raise ValueError(
                f"{text[:80]!r} holds half of a surrogate pair; allowed: whole letters"
            )
        return given


class QueryOptions(Strict):
    """How a query runs."""

    fps: float | None = Field(None, gt=0, description="at which missing frames are sampled")
    strategy: str | None = Field(None, description="by which missing frames are embedded")
    max_drift: Annotated[float, Field(gt=0)] | Literal["none"] | None = Field(
        None, description="the bound of what is embedded for it"
    )
    exact: bool | None = Field(None, description="refine approximate rows; null: as configured")
    refine_frames: int | None = Field(
        None, ge=0, lt=2**63, description="at most so many frames re-embedded"
    )
    refine_seconds: float | None = Field(None, gt=0, description="at most so long")
    deepen_gops: int | None = Field(
        None, ge=0, lt=2**63, description="groups of coarse videos embedded at most; null: 16"
    )
    budget_seconds: float | None = Field(None, gt=0, description="end the work after so long")
    budget_frames: int | None = Field(
        None, ge=0, lt=2**63, description="at most so many frames embedded or made exact"
    )
    embed_seconds: float | None = Field(None, gt=0, description="of them for embedding")
    false_match_rate: float | None = Field(
        None, gt=0, description="of unrelated texts, so many may reach the score that is clear"
    )
    gap_seconds: float | None = Field(None, gt=0, description="hits this near are one moment")
    explain: bool = Field(False, description="return the plan")


class QueryRequest(Strict):
    """A text or a picture to look for, or a question to answer."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra=example(text="a red circle moves left", top_k=3, videos=["holiday*"]),
    )

    text: str | None = Field(
        None, min_length=1, max_length=2000, description="to look for, or a question"
    )
    image: Base64Bytes | None = Field(
        None, min_length=1, description="a picture to look for, in place of a text; base64"
    )
    videos: list[Annotated[int, Field(ge=0, lt=2**63)] | str] | None = Field(
        None, max_length=1000, description="ids, names or globs; null: all"
    )
    mode: Mode = Field("retrieval", description="qa answers too, grounded_qa with its evidence")
    choices: list[str] | None = Field(
        None, min_length=2, max_length=50, description="answers to choose from"
    )
    top_k: int = Field(10, ge=1, le=1000, description="moments, frames or videos at most")
    group_by: GroupBy = Field("moment", description="what one result stands for")
    min_score: float | None = Field(None, ge=-1, le=1, description="the least cosine")
    mix: dict[str, float] | None = Field(
        None, max_length=20, description="texts added by weight; a negative one leads away"
    )
    where: str | None = Field(
        None,
        min_length=1,
        max_length=2000,
        description="a condition on columns of videos, in SQL: those alone are looked at",
    )
    signals: list[Signal] | None = Field(
        None,
        min_length=1,
        max_length=2,
        description="by pictures, by words that are said, or both; null: both, where words can be",
    )
    spaces: list[Annotated[str, Field(min_length=1, max_length=500)]] | None = Field(
        None,
        min_length=1,
        max_length=8,
        description="keys of embedding spaces that are all asked; their moments are joined on time",
    )
    options: QueryOptions = Field(QueryOptions(), description="how the query runs")

    @model_validator(mode="after")
    def _choices_are_for_questions(self) -> Self:
        if self.choices is not None and self.mode == "retrieval":
            raise ValueError("choices need mode qa or grounded_qa")
        return self

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        if (self.text is None) == (self.image is None):
            raise ValueError("expected a text or an image, and not both")
        if self.image is not None and (self.mode != "retrieval" or self.mix):
            raise ValueError("an image is looked for by itself: no mode but retrieval, no mix")
        return self

    @property
    def subject(self) -> str | bytes:
        """What is looked for."""
        return self.image or self.text or ""  # one of them is there


_MOMENT = {
    "video_id": 1,
    "name": "street.mp4",
    "start_seconds": 12.0,
    "stop_seconds": 14.5,
    "peak_seconds": 13.0,
    "score": 0.31,
    "clear": True,
    "signals": ["image", "words"],
    "line": "the red car turns left",
    "words": 4.2,
    "spaces": [],
    "thumbnail_url": "/videos/1/frames/13.000.jpg",
    "clip_url": "/videos/1/clip.mp4?start=11.000&stop=15.500",
}


class MomentOut(BaseModel):
    """A stretch of a video that matches."""

    model_config = ConfigDict(json_schema_extra=example(**_MOMENT))

    video_id: int
    name: str = Field(description="the video's")
    start_seconds: float = Field(description="where it begins")
    stop_seconds: float = Field(description="where it ends; this instant is not in it")
    peak_seconds: float = Field(description="of its best frame")
    score: float = Field(description="cosine of its best frame and the text")
    clear: bool | None = Field(description="unrelated texts seldom score as high; null: not known")
    signals: list[Signal] = Field(description="by which it was found")
    line: str | None = Field(description="what is said in it, where words found it")
    words: float | None = Field(description="how well the line holds the words (BM25)")
    spaces: list[str] = Field(
        description="that found it, by their keys, where several were asked; its score is of one"
    )
    thumbnail_url: str = Field(description="its best frame as JPEG")
    clip_url: str = Field(description="it, with a second on each side, as MP4")


class ClaimOut(BaseModel):
    """A part of an answer, held against the frames that it names."""

    model_config = ConfigDict(
        json_schema_extra=example(
            text="the car turns left", verdict="confirmed", moments=[_MOMENT], score=0.93, said=""
        )
    )

    text: str = Field(description="what is said to be so")
    verdict: Literal["confirmed", "rejected", "unverified"] = Field(
        description="whether its frames show it; unverified: nothing could tell"
    )
    moments: list[MomentOut] = Field(description="that it names")
    score: float | None = Field(description="how likely it is, where what checked it can tell")
    said: str = Field(description="by what checked it, or why nothing did")


class CostOut(BaseModel):
    """What looking takes."""

    model_config = ConfigDict(json_schema_extra=example(calls=3, frames=32))

    calls: int = Field(description="of a model")
    frames: int = Field(description="pictures that are looked at")


class AnswerOut(BaseModel):
    """An answer with the seconds that hold its evidence."""

    text: str = Field(description="the answer; it may be: nothing like this is here")
    confidence: float = Field(
        description="its probability among those that were weighed; of a model's answer the share"
        " of its claims that were confirmed"
    )
    choice: int | None = Field(description="its place among the choices, from 0; null: none")
    scores: dict[str, float] = Field(description="probability of each choice, and of nothing")
    how: str = Field(description="what chose it, from how many frames")
    caution: str | None = Field(description="what has to be known before it is relied on")
    evidence: list[MomentOut] = Field(description="the seconds that show it; none in mode qa")
    claims: list[ClaimOut] = Field(description="what it says, each checked; none in mode qa")
    cost: CostOut = Field(description="what was asked anew for it")
    session: str | None = Field(description="to ask on with")
    data: Any = Field(None, description="the answer in the form of answer_schema")


class QueryResponse(BaseModel):
    """Moments, best first, and the answer where one was asked for."""

    model_config = ConfigDict(
        json_schema_extra=example(
            moments=[_MOMENT],
            answer=None,
            coverage={"videos": 2, "frames": 900, "embedded": 0, "refined": 0, "complete": True},
            plan=None,
            timing={"encode": 0.004, "select": 0.001, "search": 0.002},
            caution=None,
        )
    )

    moments: list[MomentOut] = Field(description="best first")
    answer: AnswerOut | None = Field(None, description="null in mode retrieval")
    coverage: dict[str, Any] = Field(description="what was searched, and how exact the order is")
    plan: str | None = Field(None, description="where options.explain asks for it")
    timing: dict[str, float] = Field(description="seconds by stage")
    caution: str | None = Field(description="what has to be known before they are relied on")


class SqlRequest(Strict):
    """One SELECT over videos, gops, frames and moments."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra=example(
            sql="SELECT video_id, seconds FROM frames WHERE CLIP_MATCH(frame, $t) > 0.3",
            params={"t": "a star"},
        ),
    )

    sql: str = Field(min_length=1, max_length=100_000, description="one SELECT")
    params: dict[str, Any] | list[Any] | None = Field(
        None, description="an object for $name, a list for ?"
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="what the statement's own OPTIONS (…) may hold"
    )
    read_only: bool = Field(False, description="refuse what would change the store: CREATE VIEW")


class ExplainRequest(SqlRequest):
    """A SELECT whose plan is asked for."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra=example(sql="SELECT seconds FROM frames WHERE seconds < 9"),
    )

    analyze: bool = Field(False, description="run it, and say what it really did")


class ColumnOut(BaseModel):
    """A column of an answer."""

    name: str
    type: str = Field(description="Arrow's name of it")


class RowsOut(BaseModel):
    """The rows of a statement."""

    model_config = ConfigDict(
        json_schema_extra=example(
            columns=[{"name": "video_id", "type": "int64"}, {"name": "seconds", "type": "double"}],
            rows=[{"video_id": 1, "seconds": 13.0}],
            timing={"seconds": 0.012},
            caution=None,
        )
    )

    columns: list[ColumnOut] = Field(description="in their order")
    rows: list[dict[str, Any]] = Field(description="each an object, by column")
    caution: str | None = Field(description="what has to be known before they are relied on")
    timing: dict[str, float] = Field(description="seconds that the statement took")
