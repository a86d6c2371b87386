"""What a statement asks for, as immutable nodes; how it is done stands in the operators."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from sqlglot import exp

from engine.planner.bounds import check_planning
from engine.planner.relations import Columns
from engine.search.guarantee import Targets
from engine.search.inquiry import Filled, OneOf
from engine.search.moments import Step
from engine.search.scores import Match, ScoreRange

Predicates: TypeAlias = tuple[exp.Expr, ...]


@dataclass(frozen=True, slots=True)
class Scan:
    """Rows of the catalog's `videos` or `gops`, or of the stored `frames`."""

    relation: Literal["videos", "gops", "frames", "clips", "transcript"]
    predicates: Predicates = ()
    columns: Columns = ()  # that users have added
    timed: bool = False  # with when GOPs were recorded: `start_at`, `stop_at`


@dataclass(frozen=True, slots=True)
class Embed:
    """The frames of the source's GOPs with their embeddings; missing ones are made.

    With a `count` only so many as give that many frames in all, of which the `predicates` hold.
    """

    source: "Plan"
    count: int | None = None
    predicates: Predicates = ()


@dataclass(frozen=True, slots=True)
class Filter:
    """Rows for which all predicates hold."""

    source: "Plan"
    predicates: Predicates


@dataclass(frozen=True, slots=True)
class SemiJoin:
    """Rows of the source whose key occurs in the other's."""

    source: "Plan"
    other: "Plan"
    key: str
    other_key: str


@dataclass(frozen=True, slots=True)
class Overlap:
    """Rows of the source whose span overlaps that of some row of the other's, of the same video."""

    source: "Plan"
    other: "Plan"
    open_end: bool


@dataclass(frozen=True, slots=True)
class Cut:
    """A value with which a match will be compared."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Score:
    """The source with one more column per match; `cuts` say where being exact matters.

    `exact`: it matters for every row. Rows outside of one of the `ranges`, by the name of a match,
    are needed no more.
    """

    source: "Plan"
    matches: tuple[Match, ...]
    cuts: tuple[Cut, ...] = ()
    exact: bool = False
    ranges: tuple[tuple[str, ScoreRange], ...] = ()


@dataclass(frozen=True, slots=True)
class Settle:
    """The source's rows, made exact, with the scores that they then have."""

    source: "Plan"
    matches: tuple[Match, ...]


@dataclass(frozen=True, slots=True)
class Search:
    """The `count` rows that score highest, through the index where that pays."""

    source: "Plan"
    match: Match
    count: int


@dataclass(frozen=True, slots=True)
class Top:
    """The `count` rows with the largest value in a column; with `ties` all that equal the last."""

    source: "Plan"
    column: str
    count: int
    ties: bool = False


@dataclass(frozen=True, slots=True)
class Limit:
    """Any `count` rows."""

    source: "Plan"
    count: int


@dataclass(frozen=True, slots=True)
class Moments:
    """Spans in which the texts match, in their order; without a cut the calibrated one holds."""

    source: "Plan"
    steps: tuple[Step, ...]
    gap_seconds: float | None
    min_score: float | None
    min_duration: float = 0.0
    top_k: int | None = None  # the best of all moments, so nothing goes below it
    apart: bool = False  # each text by itself, in a column of its own


@dataclass(frozen=True, slots=True)
class Nearest:
    """For each frame of the source the `count` frames of the other that look most like it."""

    source: "Plan"
    other: "Plan"
    count: int
    apart: bool  # of other videos alone


@dataclass(frozen=True, slots=True)
class VideoAnswer:
    """The source with a column that answers a question about each row's video."""

    source: "Plan"
    name: str
    question: str
    choices: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Classify:
    """The source with a column that says what happens in each row's clip.

    It is the label's probability, or without one the likeliest label.
    """

    source: "Plan"
    name: str
    label: str | None


@dataclass(frozen=True, slots=True)
class Detect:
    """The boxes in the source's GOPs, of one label and from a score on where these are given."""

    source: "Plan"
    label: str | None = None
    min_score: float | None = None


@dataclass(frozen=True, slots=True)
class Spot:
    """The source with a column that holds a label's best score in each row's frame."""

    source: "Plan"
    name: str
    label: str


@dataclass(frozen=True, slots=True)
class TextMatch:
    """The source with a column that says how well what is said in each row's time holds words."""

    source: "Plan"
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Judge:
    """The source with a column that says which frames pass a question, within targets."""

    source: "Plan"
    name: str
    question: str
    targets: Targets
    max_calls: int | None


@dataclass(frozen=True, slots=True)
class Tell:
    """The source with a column of what something that looks says of each row."""

    source: "Plan"
    name: str
    inquiry: OneOf | Filled
    max_calls: int | None


@dataclass(frozen=True, slots=True)
class TellTexts:
    """The source with a column of the texts that hold of each row, of some it is most like."""

    source: "Plan"
    name: str
    texts: tuple[str, ...]
    question: str  # with {} for the text
    candidates: int
    max_calls: int | None


@dataclass(frozen=True, slots=True)
class Hold:
    """Rows of the source in whose span lies the second of some row of the other's."""

    source: "Plan"
    other: "Plan"
    open_end: bool


@dataclass(frozen=True, slots=True)
class Shared:
    """The rows of another input, which is read before."""

    input: str


@dataclass(frozen=True, slots=True)
class Input:
    """One relation that the tail reads, under its own name."""

    name: str
    plan: "Plan"


@dataclass(frozen=True, slots=True)
class Join:
    """Rows of input `left` count only where their key occurs in input `right`."""

    left: str
    right: str
    left_key: str
    right_key: str


@dataclass(frozen=True, slots=True)
class Within:
    """Frames of an input count only in the span of some row of another, of the same video."""

    frames: str
    spans: str
    open_end: bool  # a span's stop does not belong to it
    # or spans count only with such a frame in them, or boxes only of such a frame's GOP
    narrows: Literal["frames", "spans", "boxes"] = "frames"


@dataclass(frozen=True, slots=True)
class Need:
    """The statement needs no more of an input than `count` rows, the largest in `column`."""

    input: str
    count: int
    column: str | None = None  # None: any rows will do
    ties: bool = False  # rows that equal the last one too


@dataclass(frozen=True, slots=True)
class Relational:
    """The rest of the statement, DuckDB's, over its inputs; all else is facts about it."""

    query: exp.Query
    inputs: tuple[Input, ...]
    joins: tuple[Join, ...] = ()
    needs: tuple[Need, ...] = ()
    spans: tuple[Within, ...] = ()
    kept: tuple[str, ...] = ()  # conditions that DuckDB alone applies, and why
    text: str = field(default="", compare=False)  # the query as DuckDB reads it


Plan: TypeAlias = (
    Scan
    | Embed
    | Filter
    | SemiJoin
    | Overlap
    | Score
    | Settle
    | Search
    | Top
    | Limit
    | Moments
    | Nearest
    | VideoAnswer
    | Classify
    | Detect
    | Spot
    | TextMatch
    | Judge
    | Tell
    | TellTexts
    | Hold
    | Shared
    | Relational
)


def children(plan: Plan) -> Iterator[Plan]:
    """Yield the plans that a plan reads, first the one whose rows it passes on."""
    if isinstance(plan, Relational):
        yield from (item.plan for item in plan.inputs)
        return
    for name in ("source", "other"):
        child = getattr(plan, name, None)
        if child is not None:
            yield child


def transform(plan: Plan, rewrite: Callable[[Plan], Plan]) -> Plan:
    """Rewrite every node, children first; what no rewriting changes stays the same object."""
    check_planning()
    if isinstance(plan, Relational):
        plans = [transform(item.plan, rewrite) for item in plan.inputs]
        if any(new is not item.plan for new, item in zip(plans, plan.inputs, strict=True)):
            pairs = zip(plan.inputs, plans, strict=True)
            plan = replace(plan, inputs=tuple(replace(item, plan=new) for item, new in pairs))
        return rewrite(plan)
    changed: dict[str, Any] = {}
    for name in ("source", "other"):
        child = getattr(plan, name, None)
        if child is not None and (new := transform(child, rewrite)) is not child:
            changed[name] = new
    return rewrite(replace(plan, **changed) if changed else plan)


def reads_vectors(plan: Plan) -> bool:
    """Whether anything of a plan looks at vectors, not only at what the catalog says."""
    kinds = (Score, Settle, Search, Moments, Nearest, VideoAnswer, Judge, TellTexts)
    return any(isinstance(node, kinds) for node in walk(plan))


def reads_actions(plan: Plan) -> bool:
    """Whether anything of a plan asks what happens in clips."""
    return any(isinstance(node, Classify) for node in walk(plan))


def reads_detections(plan: Plan) -> bool:
    """Whether anything of a plan asks what stands in frames."""
    return any(isinstance(node, (Detect, Spot)) for node in walk(plan))


def walk(plan: Plan) -> Iterator[Plan]:
    """Yield a plan and all that it reads."""
    yield plan
    for child in children(plan):
        yield from walk(child)
