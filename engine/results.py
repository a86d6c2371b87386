"""What a query gives back."""

from dataclasses import dataclass, field
from typing import Literal

GroupBy = Literal["frame", "moment", "video"]


@dataclass(frozen=True, slots=True)
class Moment:
    """A part `[start_seconds, stop_seconds)` of a video that fits a text."""

    video_id: int
    name: str
    start_seconds: float
    stop_seconds: float
    peak_seconds: float
    score: float
    clear: bool | None = None  # whether unrelated texts seldom score as high; None: not known


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the answer rests on; not `complete` where a budget ended first or rows are lacking."""

    videos: int
    frames: int
    embedded: int  # frames embedded for this query
    refined: int  # approximate rows made exact for it
    complete: bool
    lacking: list[str] = field(default_factory=list)  # videos that give fewer rows than they should
    approximate: bool = False  # an index chose the rows to look at; `exact=True` looks at all
    edges_may_move: bool = False  # where moments begin and end rests on approximate rows


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Moments, best first."""

    moments: list[Moment]
    coverage: Coverage
    timing: dict[str, float]  # seconds per stage
    plan: str
    caution: str | None = None  # what has to be known before it is relied on


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, the moments that support it, and how the choices compare."""

    text: str
    confidence: float
    choice: int | None  # its number among the given choices
    evidence: list[Moment]
    scores: dict[str, float]  # probability per choice
    how: str
    caution: str | None = None  # what has to be known before it is relied on
