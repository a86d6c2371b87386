"""What an engine answers, whether it runs in this process or behind a URL."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self, runtime_checkable

from engine.results import Answer, Follow, GroupBy, Outlook, QueryResult, Signal, unfollowed
from engine.rows import SqlResult
from engine.storage.records import CellValue, ColumnKind, Job, JobStatus, Video


@runtime_checkable
class AnyEngine(Protocol):
    """The calls that `Engine` and `Client` share; each means the same in both."""

    def query(
        self,
        text: str | bytes,
        top_k: int = 10,
        videos: Sequence[int | str] | None = None,
        group_by: GroupBy = "moment",
        min_score: float | None = None,
        exact: bool | None = None,
        mix: Mapping[str, float] | None = None,
        where: str | None = None,
        signals: Sequence[Signal] | None = None,
        spaces: Sequence[str] | None = None,
        **options: Any,
    ) -> QueryResult:
        """Find the moments that fit a text, or an image's bytes.

        `mix` adds other texts by their weights; a negative one leads away. `where` is a condition
        on columns of `videos`, an expression of SQL: those alone are looked at. `signals`: by
        pictures, by words that are said, or by both, as where nothing is given. `spaces`, by
        their keys or models, are all asked; their moments are joined on time by rank.
        """

    def ask(
        self,
        question: str,
        choices: Sequence[str] | None = None,
        videos: Sequence[int | str] | None = None,
        where: str | None = None,
        *,
        schema: Mapping[str, Any] | None = None,
        session: str | None = None,
        max_calls: int | None = None,
        max_frames: int | None = None,
        follow: Follow = unfollowed,
    ) -> Answer:
        """Answer a question, out of choices where given, with the moments that support it.

        `follow` is called with each step as it is made, with the cost before it is spent. `session`
        is an earlier answer's, to ask on. With a model that sees, `schema` gives the answer's form
        (JSON Schema), `max_calls` and `max_frames` what is spent at most.
        """

    def foresee(
        self,
        question: str,
        choices: Sequence[str] | None = None,
        videos: Sequence[int | str] | None = None,
        where: str | None = None,
        *,
        max_calls: int | None = None,
        max_frames: int | None = None,
    ) -> Outlook:
        """Tell where `ask` would look and what that would cost at most; nothing is looked at."""

    def sql(
        self, sql: str, /, *positional: Any, options: Mapping[str, Any] | None = None, **named: Any
    ) -> SqlResult:
        """Run a SELECT; `?` takes positional values, `$name` named ones."""

    def explain(
        self,
        sql: str,
        /,
        *positional: Any,
        analyze: bool = False,
        form: Literal["text", "json"] = "text",
        options: Mapping[str, Any] | None = None,
        **named: Any,
    ) -> str:
        """Return the plan of a SELECT; with `analyze` run it and say what it really did.

        As JSON it is what `POST /explain` gives, for programs.
        """

    def videos(
        self,
        pattern: str | None = None,
        *,
        after: int = 0,
        limit: int | None = None,
        where: str | None = None,
    ) -> list[Video]:
        """Return the videos by id, those only whose name is or matches a glob where one is given.

        `limit` gives a page of so many, those whose ids come `after` one; `where` is a condition on
        columns of `videos`, an expression of SQL.
        """

    def video(self, video: int | str) -> Video:
        """Return a video by its id or one of its names."""

    def tag(
        self,
        videos: int | str | Sequence[int | str],
        values: Mapping[str, CellValue],
        kinds: Mapping[str, ColumnKind] | None = None,
    ) -> list[Video]:
        """Give videos, by ids, names or globs, values in columns of your own; return them.

        None takes a value away. A column that is not there is made: of text, number, bool or
        timestamp as its value is, or as `kinds` says. `recorded_at` is set in the same way.
        """

    def columns(self) -> dict[str, ColumnKind]:
        """Return the columns that users have added to videos, with their kinds."""

    def drop_column(self, name: str) -> None:
        """Remove a column that users have added, with all of its values."""

    def remove(self, video: int | str) -> None:
        """Remove a video with its rows; its file stays, unless it was sent to a server."""

    def frame(self, video: int | str, seconds: float, *, width: int = 480) -> bytes:
        """Return the frame shown at an instant as JPEG, at most `width` wide."""

    def clip(
        self, video: int | str, start_seconds: float, stop_seconds: float, path: str | Path
    ) -> Path:
        """Cut `[start, stop)` of a video into an MP4 that browsers play; return its path."""

    def jobs(
        self, status: JobStatus | None = None, *, after: str | None = None, limit: int | None = None
    ) -> list[Job]:
        """Return the jobs of servers, newest first.

        `limit` gives a page of so many, those that come `after` one.
        """

    def job(self, job_id: str) -> Job:
        """Return a job by its id."""

    def cancel(self, job_id: str) -> Job:
        """Cancel a job that has not ended; what has ended stays as it is."""

    def close(self) -> None:
        """Give back what is held."""

    def __enter__(self) -> Self:
        """Return the engine itself."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
