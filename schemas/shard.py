"""What a server that asks several shards and each of these say to each other."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from schemas.query import QueryResponse, Strict

PROTOCOL = 1  # of these forms; shards of another are refused
Seconds = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**62)]
VideoId = Annotated[int, Field(ge=0, lt=2**31)]
Vectors = Annotated[str, Field(max_length=1 << 20, pattern=r"^[A-Za-z0-9+/]*={0,2}$")]


class ShardFacts(BaseModel):
    """What has to be the same in all shards, and whose store it is."""

    protocol: int = Field(description="of what follows a query from shard to shard")
    version: str = Field(description="of the program")
    identity: str = Field(description="what this store has and no other")
    space: str = Field(description="key of the embedding space")
    rules: dict[str, Any] = Field(description="settings that decide what is found")


class WordCountsIn(Strict):
    """What words are weighed by, of all shards."""

    num_lines: Count
    num_words: Count
    held: list[Count] = Field(max_length=4000, description="lines that hold each sought word")


class InquiryOut(BaseModel):
    """A query as one shard has begun it, at one moment of its store."""

    inquiry: str = Field(description="to go on with; forgotten after a while")
    snapshot: str = Field(description="names the moment: the same rows have the same name")
    facts: ShardFacts
    rows: int = Field(description="of the space")
    selected: int = Field(description="videos that are looked at")
    unmatched: list[int | str] = Field(description="of the videos asked for, those not here")
    by_image: bool = Field(description="whether pictures are looked at")
    by_words: bool = Field(description="whether words are")
    calibrated: bool = Field(description="whether a match can be told from chance")
    words: WordCountsIn | None = Field(description="what is said here")


class SampleOut(BaseModel):
    """Vectors of rows that lie so many places apart."""

    vectors: str = Field(description="float16 in base64")
    exact: bool = Field(description="whether none is approximate")


class BackgroundOut(BaseModel):
    """What a match by chance scores against."""

    texts: str = Field(description="float32 in base64")
    images: str = Field(description="float32 in base64")


class FindRequest(Strict):
    """How deep to look, and what is so of all shards together."""

    depth: int = Field(ge=1, le=1 << 22, description="frames that are looked at first")
    mean: Vectors | None = Field(None, description="float32 in base64: the mean frame of all")
    words: WordCountsIn | None = Field(None, description="of all shards")
    bar: Annotated[float, Field(allow_inf_nan=False)] | None = Field(
        None, description="make exact what could reach this score; null: nothing"
    )


class SpanOut(BaseModel):
    """A stretch of a video, by its best frame."""

    video_id: int
    row: int
    start_seconds: float
    stop_seconds: float
    peak_seconds: float
    score: float


class SpokenOut(BaseModel):
    """A part of a video in which sought words are said."""

    video_id: int
    start_seconds: float
    stop_seconds: float
    line: str
    score: float


class FoundOut(BaseModel):
    """What one shard found at this depth."""

    rows: list[int] = Field(description="the best frames, best first")
    scores: list[float]
    spans: list[SpanOut] = Field(description="whose best frame is one of them; none is left out")
    vectors: str = Field(description="of their best frames, float16 in base64")
    spoken: list[SpokenOut] = Field(description="where words are said, best first")
    largest_error: float = Field(description="by which a row's score may be off")
    refined: bool = Field(description="whether a row was made exact just now")
    snapshot: str = Field(description="as it is after that")
    how: str = Field(description="by which index")


class StretchIn(Strict):
    """A stretch of a video."""

    video_id: VideoId
    start_seconds: Seconds
    stop_seconds: Seconds


class NullIn(Strict):
    """How unrelated texts and frames of all shards score."""

    mean_text: Vectors
    mean_frame: Vectors
    middle: Seconds
    width: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ShowRequest(Strict):
    """What is shown of this shard."""

    spans: list[StretchIn] = Field(max_length=1000, description="found by pictures")
    spoken: list[StretchIn] = Field(max_length=1000, description="found by words alone")
    null: NullIn | None = Field(None, description="of all shards; null: nothing is called clear")


class ShowOut(BaseModel):
    """What is to be told of it."""

    names: dict[int, str] = Field(description="of its videos")
    clear: list[bool | None] = Field(description="of each span")
    best: list[tuple[float, float]] = Field(description="of each spoken part, when and how well")
    approximate: bool = Field(description="whether edges rest on rows that are not exact")
    coverage: dict[str, Any]
    caution: str | None


class ShardSaid(BaseModel):
    """What became of one shard in an answer."""

    name: str
    state: Literal["answered", "lost"]
    snapshot: str | None = Field(description="the moment of its store that was looked at")
    reason: str | None = Field(description="why it is lost")


class GatheredResponse(QueryResponse):
    """Moments of all shards, best first."""

    shards: list[ShardSaid] = Field(description="each, with what was looked at, or why not")


class ShardOut(BaseModel):
    """A shard, and what it is or why it gives no answer."""

    name: str
    place: int = Field(description="ids of its videos are this times 10,000,000,000, and its own")
    facts: ShardFacts | None = Field(description="null where it gives no answer")
    reason: str | None = Field(description="why it gives none")
