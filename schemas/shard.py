"""What a server that asks several shards and each of these say to each other."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.query import QueryResponse, Strict, example

PROTOCOL = 1  # of these forms; shards of another are refused
Seconds = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**62)]
VideoId = Annotated[int, Field(ge=0, lt=2**31)]
Vectors = Annotated[str, Field(max_length=1 << 20, pattern=r"^[A-Za-z0-9+/]*={0,2}$")]

_SPAN = {"video_id": 3, "start_seconds": 4.0, "stop_seconds": 6.5}
_FACTS = {"protocol": 1, "version": "0.1.0", "identity": "5f0c", "space": "builtin-1", "rules": {}}


class ShardFacts(BaseModel):
    """What has to be the same in all shards, and whose store it is."""

    model_config = ConfigDict(
        json_schema_extra=example(
            protocol=1, version="0.1.0", identity="5f0c", space="builtin-1", rules={}
        )
    )

    protocol: int = Field(description="of what follows a query from shard to shard")
    version: str = Field(description="of the program")
    identity: str = Field(description="what this store has and no other")
    space: str = Field(description="key of the embedding space")
    rules: dict[str, Any] = Field(description="settings that decide what is found")


class WordCountsIn(Strict):
    """What words are weighed by, of all shards."""

    model_config = ConfigDict(json_schema_extra=example(num_lines=120, num_words=840, held=[3, 1]))

    num_lines: Count
    num_words: Count
    held: list[Count] = Field(max_length=4000, description="lines that hold each sought word")


class InquiryOut(BaseModel):
    """A query as one shard has begun it, at one moment of its store."""

    model_config = ConfigDict(
        json_schema_extra=example(
            inquiry="9b1e",
            snapshot="42-7",
            facts=_FACTS,
            rows=1200,
            selected=3,
            unmatched=[],
            by_image=True,
            by_words=False,
            calibrated=True,
            words=None,
        )
    )

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

    model_config = ConfigDict(json_schema_extra=example(vectors="AAA8AAA8", exact=True))

    vectors: str = Field(description="float16 in base64")
    exact: bool = Field(description="whether none is approximate")


class BackgroundOut(BaseModel):
    """What a match by chance scores against."""

    model_config = ConfigDict(
        json_schema_extra=example(texts="AACAPwAAAAA=", images="AAAAAAAAgD8=")
    )

    texts: str = Field(description="float32 in base64")
    images: str = Field(description="float32 in base64")


class FindRequest(Strict):
    """How deep to look, and what is so of all shards together."""

    model_config = ConfigDict(json_schema_extra=example(depth=100, bar=0.2))

    depth: int = Field(ge=1, le=1 << 22, description="frames that are looked at first")
    mean: Vectors | None = Field(None, description="float32 in base64: the mean frame of all")
    words: WordCountsIn | None = Field(None, description="of all shards")
    bar: Annotated[float, Field(allow_inf_nan=False)] | None = Field(
        None, description="make exact what could reach this score; null: nothing"
    )


class SpanOut(BaseModel):
    """A stretch of a video, by its best frame."""

    model_config = ConfigDict(
        json_schema_extra=example(**_SPAN, row=9, peak_seconds=5.0, score=0.31)
    )

    video_id: int
    row: int
    start_seconds: float
    stop_seconds: float
    peak_seconds: float
    score: float


class SpokenOut(BaseModel):
    """A part of a video in which sought words are said."""

    model_config = ConfigDict(
        json_schema_extra=example(**_SPAN, line="and there is the dog", score=2.4)
    )

    video_id: int
    start_seconds: float
    stop_seconds: float
    line: str
    score: float


class FoundOut(BaseModel):
    """What one shard found at this depth."""

    model_config = ConfigDict(
        json_schema_extra=example(
            rows=[9],
            scores=[0.31],
            spans=[],
            vectors="",
            spoken=[],
            largest_error=0.0,
            refined=False,
            snapshot="42-7",
            how="flat",
        )
    )

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

    model_config = ConfigDict(json_schema_extra=example(**_SPAN))

    video_id: VideoId
    start_seconds: Seconds
    stop_seconds: Seconds


class NullIn(Strict):
    """How unrelated texts and frames of all shards score."""

    model_config = ConfigDict(
        json_schema_extra=example(
            mean_text="AACAPwAAAAA=", mean_frame="AAAAAAAAgD8=", middle=0.05, width=0.02
        )
    )

    mean_text: Vectors
    mean_frame: Vectors
    middle: Seconds
    width: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ShowRequest(Strict):
    """What is shown of this shard."""

    model_config = ConfigDict(json_schema_extra=example(spans=[_SPAN], spoken=[]))

    spans: list[StretchIn] = Field(max_length=1000, description="found by pictures")
    spoken: list[StretchIn] = Field(max_length=1000, description="found by words alone")
    null: NullIn | None = Field(None, description="of all shards; null: nothing is called clear")


class ShowOut(BaseModel):
    """What is to be told of it."""

    model_config = ConfigDict(
        json_schema_extra=example(
            names={3: "north.mp4"},
            clear=[True],
            best=[],
            approximate=False,
            coverage={},
            caution=None,
        )
    )

    names: dict[int, str] = Field(description="of its videos")
    clear: list[bool | None] = Field(description="of each span")
    best: list[tuple[float, float]] = Field(description="of each spoken part, when and how well")
    approximate: bool = Field(description="whether edges rest on rows that are not exact")
    coverage: dict[str, Any]
    caution: str | None


class ShardSaid(BaseModel):
    """What became of one shard in an answer."""

    model_config = ConfigDict(
        json_schema_extra=example(name="s1", state="answered", snapshot="42-7", reason=None)
    )

    name: str
    state: Literal["answered", "lost"]
    snapshot: str | None = Field(description="the moment of its store that was looked at")
    reason: str | None = Field(description="why it is lost")


class GatheredResponse(QueryResponse):
    """Moments of all shards, best first."""

    shards: list[ShardSaid] = Field(description="each, with what was looked at, or why not")


class ShardOut(BaseModel):
    """A shard, and what it is or why it gives no answer."""

    model_config = ConfigDict(json_schema_extra=example(name="s1", place=1, facts=_FACTS))

    name: str
    place: int = Field(description="ids of its videos are this times 10,000,000,000, and its own")
    facts: ShardFacts | None = Field(description="null where it gives no answer")
    reason: str | None = Field(description="why it gives none")
