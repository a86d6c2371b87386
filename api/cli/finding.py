"""What commands that start from a query share: its flags, and how it is asked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import flags
from engine.errors import UsageError

if TYPE_CHECKING:
    from engine.protocol import AnyEngine
    from engine.results import GroupBy, QueryResult, Signal

Text = Annotated[str | None, typer.Argument(help="What to look for.")]
Image = Annotated[Path | None, typer.Option("--image", help="Look for what a picture shows.")]
Without = Annotated[
    list[str] | None, typer.Option("--not", help="Lead away from this text; repeatable.")
]
Mix = Annotated[
    list[str] | None,
    typer.Option("--mix", help="TEXT=WEIGHT, added to what is looked for; repeatable."),
]
Top = Annotated[int, typer.Option("--top", help="How many results.", min=1)]
Offset = Annotated[int, typer.Option("--offset", help="Leave out so many of the best.", min=0)]
MinScore = Annotated[float | None, typer.Option("--min-score", help="Leave out what scores less.")]
Signals = Annotated[
    list[str] | None,
    typer.Option("--signal", help="image or words (that are said); by default both; repeatable."),
]
Pad = Annotated[float, typer.Option("--pad", help="Seconds added on each side.", min=0)]
Spaces = Annotated[
    str | None,
    typer.Option(help="Keys or models of several spaces, with commas: all are asked."),
]
_AWAY = -0.5  # the weight of a text to lead away from


@dataclass(frozen=True, slots=True)
class Sought:
    """What is looked for, and how much of it."""

    text: str | None
    image: Path | None
    mix: Sequence[str] = ()
    without: Sequence[str] = ()
    videos: Sequence[str] = ()
    where: str | None = None
    top: int = 10
    offset: int = 0
    min_score: float | None = None
    signals: Sequence["Signal"] = ()

    def __post_init__(self) -> None:
        if (self.text is None) == (self.image is None):
            given = "neither" if self.text is None else "both"
            raise UsageError(f"got {given}; allowed: a text, or --image FILE")

    @property
    def title(self) -> str:
        """Return a line that says it."""
        more = [*self.mix, *(f"not {text}" for text in self.without)]
        return ", ".join([self.text or f"like {self.image}", *more])

    def find(
        self,
        engine: "AnyEngine",
        group_by: "GroupBy" = "moment",
        exact: bool | None = None,
        **options: Any,
    ) -> "QueryResult":
        """Ask for it."""
        found = engine.query(
            self._subject(),
            top_k=self.top + self.offset,
            videos=[flags.which(each) for each in self.videos] or None,
            group_by=group_by,
            min_score=self.min_score,
            exact=exact,
            where=self.where,
            signals=list(self.signals) or None,
            mix=dict(map(_weighted, self.mix)) | dict.fromkeys(self.without, _AWAY) or None,
            **options,
        )
        return replace(found, moments=found.moments[self.offset :])

    def _subject(self) -> str | bytes:
        if self.image is None:
            assert self.text is not None
            return self.text
        try:
            return self.image.read_bytes()
        except OSError as error:
            raise UsageError(f"--image {self.image}: {str(error.strerror).lower()}") from error


def budgets(seconds: float | None, frames: int | None) -> dict[str, Any]:
    """Return the options that bound what a query costs, those that are given."""
    given = {"budget_seconds": seconds, "budget_frames": frames}
    return {name: value for name, value in given.items() if value is not None}


def _weighted(given: str) -> tuple[str, float]:
    text, equals, weight = given.rpartition("=")
    try:
        return text, float(weight if equals else "")
    except ValueError as error:
        raise UsageError(f"--mix {given!r}; expected TEXT=WEIGHT, as 'snow=0.5'") from error
