"""What a query gives back."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from html import escape
from typing import TYPE_CHECKING, Any, Final, Literal, Self, get_args, get_type_hints

from engine.printable import printable

if TYPE_CHECKING:
    import pyarrow as pa

GroupBy = Literal["frame", "moment", "video"]
Signal = Literal["image", "words"]
Verdict = Literal["confirmed", "rejected", "unverified"]
NOT_SHOWN: Final = "nothing like this is here"


@dataclass(frozen=True, slots=True)
class Moment:
    """A part `[start_seconds, stop_seconds)` of a video that fits a text.

    `score` is the cosine of its best frame, also of one that was found by words alone; 0 where no
    frame of it was looked at.
    """

    video_id: int
    name: str
    start_seconds: float
    stop_seconds: float
    peak_seconds: float
    score: float
    clear: bool | None = None  # whether unrelated texts seldom score as high; None: not known
    signals: tuple[Signal, ...] = ("image",)  # by which it was found
    line: str | None = None  # what is said in it, where words found it
    words: float | None = None  # how well the line holds the words (BM25)
    spaces: tuple[str, ...] = ()  # that found it, where several were asked; its score is of one

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "Moment":
        """Return the moment that JSON tells."""
        known = {field.name: found[field.name] for field in fields(cls)}
        listed = {name: tuple(known[name]) for name in ("signals", "spaces")}
        return cls(**{**known, **listed})


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the answer rests on; not `complete` where a budget ended first or rows are lacking."""

    videos: int
    frames: int
    embedded: int  # frames embedded for this query
    refined: int  # approximate rows made exact for it
    complete: bool
    lacking: list[str] = field(default_factory=list)  # the first of `num_lacking` videos
    approximate: bool = False  # an index chose the rows to look at; `exact=True` looks at all
    coarse_seconds: float = 0.0  # of video of which only first frames of GOPs were looked at
    edges_may_move: bool = False  # where moments begin and end rests on approximate rows
    num_lacking: int = 0  # videos that give fewer rows than they should

    @property
    def lacks(self) -> str:
        """The first videos that give fewer rows than they should, and how many more there are."""
        named = self.lacking[:3]
        more = self.num_lacking - len(named)
        return "; ".join([*named, f"{more:,} more"] if more > 0 else named)


class _Drawn:
    """What was found by an engine that can draw it for a notebook."""

    __slots__ = ("_draw",)
    _draw: Callable[[], str]

    def drawn_by(self, draw: Callable[[], str]) -> Self:
        """Have it drawn so, where it is shown; return itself."""
        object.__setattr__(self, "_draw", draw)
        return self


@dataclass(frozen=True, slots=True)
class QueryResult(_Drawn):
    """Moments, best first."""

    moments: list[Moment]
    coverage: Coverage
    timing: dict[str, float]  # seconds per stage
    plan: str
    caution: str | None = None  # what has to be known before it is relied on

    def rows(self) -> list[dict[str, Any]]:
        """Return the moments as dictionaries."""
        return [
            {**asdict(each), "signals": list(each.signals), "spaces": list(each.spaces)}
            for each in self.moments
        ]

    def arrow(self) -> "pa.Table":
        """Return the moments as an Arrow table."""
        import pyarrow as pa  # who only counts moments needs none of it

        kinds = {int: pa.int64(), str: pa.string(), float: pa.float64(), bool: pa.bool_()}
        types = get_type_hints(Moment)
        kinds |= {types[name]: pa.list_(pa.string()) for name in ("signals", "spaces")}
        columns = [
            (name, kinds.get(kind) or kinds[(get_args(kind) or (kind,))[0]])
            for name, kind in types.items()
        ]
        schema = pa.schema(columns)
        return pa.Table.from_pylist(self.rows(), schema)

    def pandas(self) -> Any:
        """Return the moments as a pandas data frame; pandas must be installed."""
        return self.arrow().to_pandas()

    def polars(self) -> Any:
        """Return the moments as a polars data frame; polars must be installed."""
        import polars  # no dependency of ours

        return polars.from_arrow(self.arrow())

    def _repr_html_(self) -> str:
        """Show the moments in a notebook, with pictures where an engine found them."""
        head = "".join(f"<th>{name}</th>" for name in ("video", "from", "to", "best at", "score"))
        rows = "".join(
            f"<tr><td>{escape(printable(m.name))}</td><td>{m.start_seconds:.1f} s</td>"
            f"<td>{m.stop_seconds:.1f} s</td><td>{m.peak_seconds:.1f} s</td>"
            f"<td>{m.score:.3f}</td></tr>"
            for m in self.moments
        )
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        if not hasattr(self, "_draw"):
            return table
        caution = "" if self.caution is None else f"<p>{escape(self.caution)}</p>"
        folded = f"<details><summary>{len(self.moments)} moments as a table</summary>{table}"
        return f"{caution}{self._draw()}{folded}</details>"


@dataclass(frozen=True, slots=True)
class Claim:
    """A part of an answer, the moments that it rests on, and whether they show it."""

    text: str
    verdict: Verdict
    moments: list[Moment]
    score: float | None = None  # how likely it is, where what checked it can tell
    said: str = ""  # by what checked it, or why nothing did

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "Claim":
        """Return the claim that JSON tells."""
        return cls(**{**found, "moments": [Moment.of(each) for each in found["moments"]]})


@dataclass(frozen=True, slots=True)
class Spending:
    """What looking takes: calls of a model, and pictures that it is shown."""

    calls: int = 0
    frames: int = 0


@dataclass(frozen=True, slots=True)
class Outlook:
    """The first step of an answer: where is looked, by what, and what that costs at most."""

    moments: list[Moment]
    looker: str
    cost: Spending

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "Outlook":
        """Return what JSON tells."""
        moments = [Moment.of(each) for each in found["moments"]]
        return cls(moments, found["looker"], Spending(**found["cost"]))


@dataclass(frozen=True, slots=True)
class SaidPiece:
    """The second step: a further piece of what a model says as it looks."""

    text: str

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "SaidPiece":
        """Return what JSON tells."""
        return cls(found["text"])


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
    claims: list[Claim] = field(default_factory=list)  # checked each by itself
    cost: Spending = Spending()  # what was asked anew; replies that were kept cost nothing
    session: str | None = None  # to ask on in
    data: Any = None  # the answer in the form of a schema, where one was given

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "Answer":
        """Return the answer that JSON tells."""
        parts = {
            "evidence": [Moment.of(each) for each in found["evidence"]],
            "claims": [Claim.of(each) for each in found["claims"]],
            "cost": Spending(**found["cost"]),
        }
        return cls(**{**found, **parts})


STEPS: Final[Mapping[str, Callable[[Mapping[str, Any]], "Step"]]] = {
    "outlook": Outlook.of,
    "said": SaidPiece.of,
    "claim": Claim.of,
    "answer": Answer.of,
}
Step = Outlook | SaidPiece | Claim | Answer  # of an answer, as they are made
Follow = Callable[[Step], None]  # called with each of them


def unfollowed(step: Step) -> None:
    """Follow nothing."""
