"""What a query gives back."""

from dataclasses import asdict, dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, Literal, get_args, get_type_hints

if TYPE_CHECKING:
    import pyarrow as pa

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
    coarse_seconds: float = 0.0  # of video of which only first frames of GOPs were looked at
    edges_may_move: bool = False  # where moments begin and end rests on approximate rows


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Moments, best first."""

    moments: list[Moment]
    coverage: Coverage
    timing: dict[str, float]  # seconds per stage
    plan: str
    caution: str | None = None  # what has to be known before it is relied on

    def rows(self) -> list[dict[str, Any]]:
        """Return the moments as dictionaries."""
        return [asdict(moment) for moment in self.moments]

    def arrow(self) -> "pa.Table":
        """Return the moments as an Arrow table."""
        import pyarrow as pa  # who only counts moments needs none of it

        kinds = {int: pa.int64(), str: pa.string(), float: pa.float64(), bool: pa.bool_()}
        types = get_type_hints(Moment)
        columns = [(name, kinds[(get_args(kind) or (kind,))[0]]) for name, kind in types.items()]
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
        """Show the moments in a notebook."""
        head = "".join(f"<th>{name}</th>" for name in ("video", "from", "to", "best at", "score"))
        rows = "".join(
            f"<tr><td>{escape(m.name)}</td><td>{m.start_seconds:.1f} s</td>"
            f"<td>{m.stop_seconds:.1f} s</td><td>{m.peak_seconds:.1f} s</td>"
            f"<td>{m.score:.3f}</td></tr>"
            for m in self.moments
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


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
