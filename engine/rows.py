"""What a statement gives back."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pyarrow as pa

    from engine.search.work import Work


CAUTION: Final = "dejavu.caution"


@dataclass(frozen=True, slots=True)
class Completeness:
    """What an answer rests on.

    `complete`: all frames that it asks about were embedded and looked at, all
    clips classified. `exact`: equal
    to a full scan over dense vectors of the frames there are; approximate rows that could matter
    were made exact.
    """

    complete: bool
    exact: bool
    embedded: int  # frames embedded for it
    refined: int  # approximate rows made exact for it
    inexact: int  # approximate rows on which it rests
    missing_seconds: float  # of video that was to be embedded and was not
    budget: bool  # whether a budget ended something that was not done yet

    @classmethod
    def of_work(cls, work: "Work") -> "Completeness":
        """Read it off what was done."""
        whole = all(item.complete for item in work.embedded) and not work.missing_seconds
        whole = whole and all(item.complete for item in work.actions)
        whole = whole and all(item.complete for item in work.detections)
        settled = all(item.complete for item in work.refined)
        return cls(
            complete=whole,
            exact=settled and not work.approximate and not work.inexact,
            embedded=sum(item.frames for item in work.embedded),
            refined=sum(item.rows for item in work.refined),
            inexact=work.inexact,
            missing_seconds=work.missing_seconds,
            budget=any(
                item.budget
                for done in (work.embedded, work.refined, work.actions, work.detections)
                for item in done
            ),
        )


@dataclass(frozen=True, slots=True)
class SqlResult:
    """The rows of a statement, and how they came about.

    The table's schema holds the coverage too, as JSON under `dejavu.coverage`, and the caution
    under `dejavu.caution`.
    """

    table: "pa.Table"
    explain: str  # the plan; after EXPLAIN ANALYZE or `analyze`, with what really happened
    work: "Work | None"  # None where a server did it
    seconds: float
    coverage: Completeness

    def __repr__(self) -> str:
        number, names = self.table.num_rows, ", ".join(self.table.column_names)
        lacking = "" if self.coverage.complete else ", incomplete"
        return f"<SqlResult {number} row{'s' * (number != 1)} of {names}{lacking}>"

    @property
    def caution(self) -> str | None:
        """What has to be known of the models that the rows rest on, before they are relied on."""
        return caution_of(self.table)

    def arrow(self) -> "pa.Table":
        """Return the rows as an Arrow table."""
        return self.table

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows as dictionaries."""
        listed: list[dict[str, Any]] = self.table.to_pylist()
        return listed

    def pandas(self) -> Any:
        """Return the rows as a pandas data frame; pandas must be installed."""
        return self.table.to_pandas()

    def polars(self) -> Any:
        """Return the rows as a polars data frame; polars must be installed."""
        import polars  # no dependency of ours

        return polars.from_arrow(self.table)


def caution_of(table: "pa.Table") -> str | None:
    """Return the caution in a table's schema."""
    said = (table.schema.metadata or {}).get(CAUTION.encode())
    return None if said is None else said.decode()
