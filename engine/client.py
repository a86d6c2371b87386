"""A client of a running server, with the calls of an engine."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from shutil import copyfileobj
from time import perf_counter
from typing import Any, Literal
from urllib.parse import quote, urlencode

from engine.arguments import checks_arguments
from engine.caller import may_change
from engine.calls import ARROW, ServerCalls, query_of
from engine.client_transcripts import TranscriptCalls
from engine.closing import Closing
from engine.errors import (
    ExecutionError,
    NotFoundError,
    QueryError,
    UsageError,
    check_limit,
    check_target,
    check_videos,
)
from engine.objects.address import whole
from engine.pictured import pictured
from engine.results import (
    STEPS,
    Answer,
    Coverage,
    Follow,
    GroupBy,
    Moment,
    Outlook,
    QueryResult,
    Signal,
    unfollowed,
)
from engine.rows import Completeness, SqlResult
from engine.storage.records import CellValue, ColumnKind, Job, JobStatus, Video
from engine.told import job_of, video_of

ENDED = ("ready", "failed", "cancelled")
_POLL_SECONDS = 0.3
_PAGE = 500  # the most videos or jobs that a server lists at once


@checks_arguments
class Client(TranscriptCalls, Closing):
    """The engine behind a URL: the same calls, the same results, the same errors.

    An error is of the class that the server's engine raised, with its text. Files are the server's
    own: `Video.path` is empty. Who may write (with such a key, or on a server without keys, which
    answers its own machine alone) reads paths in reports, errors and SQL; who may only read does
    not. `key` is one of its DEJAVU_API_KEYS.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        self._calls = ServerCalls(url, key)

    def __repr__(self) -> str:
        return f"<Client {self.url}>"  # the key is nobody's business

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._calls.url

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
        """Find the moments that fit a text."""
        if isinstance(text, bytes):
            raise UsageError("a server takes texts; images need an engine on the data folder")
        body = {
            "text": text,
            "top_k": top_k,
            "videos": _listed(videos),
            "group_by": group_by,
            "min_score": min_score,
            "mix": None if mix is None else dict(mix),
            "where": where,
            "signals": None if signals is None else list(signals),
            "spaces": None if spaces is None else list(spaces),
            "options": {**options, "exact": exact, "explain": True},
        }
        found = self.call("POST", "/query", body)
        moments = [Moment.of(moment) for moment in found["moments"]]
        covered, said = Coverage(**found["coverage"]), (found["plan"], found["caution"])
        result = QueryResult(moments, covered, found["timing"], *said)
        return result.drawn_by(partial(pictured, moments, self))

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
        """Answer a question, out of choices where given, with the moments that support it."""
        body = {
            **_asked(question, choices, videos, where, max_calls, max_frames),
            "answer_schema": schema,
            "session": session,
        }
        if follow is unfollowed:
            return Answer.of(self.call("POST", "/ask", body))
        for name, told in self._calls.events("/ask", body):
            if name == "answer":
                return Answer.of(told)
            follow(STEPS[name](told))
        raise ExecutionError(f"the server at {self.url} ended before it had answered")

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
        body = _asked(question, choices, videos, where, max_calls, max_frames)
        return Outlook.of(self.call("POST", "/ask/forecast", body))

    def sql(
        self, sql: str, /, *positional: Any, options: Mapping[str, Any] | None = None, **named: Any
    ) -> SqlResult:
        """Run a SELECT; `?` takes positional values, `$name` named ones, not both at once."""
        import pyarrow as pa  # what lists videos needs none of it

        if positional and named:
            raise UsageError("a server takes positional values or named ones, got both")
        started = perf_counter()
        body = {
            "sql": sql,
            "params": list(positional) or named or None,
            "options": options or {},
            "read_only": not may_change(),
        }
        with self._calls.open("POST", "/sql", body, accept=ARROW) as response:
            table = pa.ipc.open_stream(response.read()).read_all()
        coverage = Completeness(**json.loads(table.schema.metadata[b"dejavu.coverage"]))
        return SqlResult(table, "", None, perf_counter() - started, coverage)

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
        asked = f"EXPLAIN ({'ANALYZE, ' if analyze else ''}FORMAT {form}) {sql}"
        try:
            lines = self.sql(asked, *positional, options=options, **named).table.column(0)
        except QueryError as error:
            error.sql = sql
            if error.position is not None:
                error.position = max(error.position - len(asked) + len(sql), 0)
            raise
        return "\n".join(lines.to_pylist())

    def ingest(
        self,
        path: str | Path,
        *,
        progress: Callable[[Mapping[str, Any]], None] = lambda _: None,
        **options: Any,
    ) -> Job:
        """Have the server bring in a path that it can see; return the job when it has ended."""
        given = {"path": str(whole(path)), **options}
        return self._ended(self.call("POST", "/videos", given)["id"], progress)

    def _ended(self, job_id: str, progress: Callable[[Mapping[str, Any]], None]) -> Job:
        job, wait = self.job(job_id), _POLL_SECONDS / 10
        while job.status not in ENDED:
            progress(job.progress or {})
            time.sleep(wait)
            wait = min(1.5 * wait, _POLL_SECONDS)
            job = self.job(job_id)
        return job

    def deepen(self, *, seconds: float | None = None) -> Job:
        """Have the server embed what coarse videos lack; return the job when it has ended."""
        given = {} if seconds is None else {"seconds": seconds}
        return self._ended(self.call("POST", "/videos/deepen", given)["id"], lambda _: None)

    def migrate(
        self,
        to: str,
        *,
        source: str | None = None,
        remove: bool = False,
        progress: Callable[[Mapping[str, Any]], None] = lambda _: None,
    ) -> Job:
        """Have the server embed everything anew by the model `to`; return the job that ended."""
        given = {"to": to, "source": source, "remove": remove}
        return self._ended(self.call("POST", "/videos/migrate", given)["id"], progress)

    # what is stored

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
        check_limit(limit)
        return list(islice(self._videos(pattern, after=after, most=limit, where=where), limit))

    def video(self, video: int | str) -> Video:
        """Return a video by its id or one of its names."""
        if isinstance(video, int):
            return next(self._read([self.call("GET", f"/videos/{video}")]))
        return next(self._read([self.call("GET", f"/videos/named?{query_of({'name': video})}")]))

    def tag(
        self,
        videos: int | str | Sequence[int | str],
        values: Mapping[str, CellValue],
        kinds: Mapping[str, ColumnKind] | None = None,
    ) -> list[Video]:
        """Give videos, by ids, names or globs, values in columns of your own; return them."""
        listed = [videos] if isinstance(videos, (int, str)) else list(videos)
        told = {n: v.isoformat() if isinstance(v, datetime) else v for n, v in values.items()}
        of = {n: "timestamp" for n, v in values.items() if isinstance(v, datetime)}
        of = {n: kind for n, kind in of.items() if n != "recorded_at"} | dict(kinds or {})
        found = self.call("POST", "/columns", {"videos": listed, "values": told, "kinds": of})
        return list(self._read(found))

    def columns(self) -> dict[str, ColumnKind]:
        """Return the columns that users have added to videos, with their kinds."""
        return dict(self.call("GET", "/columns"))

    def drop_column(self, name: str) -> None:
        """Remove a column that users have added, with all of its values."""
        self.call("DELETE", f"/columns/{quote(name, safe='')}")

    def remove(self, video: int | str) -> None:
        """Remove a video with its rows; its file stays, unless it was sent to the server."""
        self.call("DELETE", f"/videos/{self.video(video).video_id}")

    def frame(self, video: int | str, seconds: float, *, width: int = 480) -> bytes:
        """Return the frame shown at an instant as JPEG, at most `width` wide."""
        at = f"/videos/{self._id(video)}/frames/{seconds:.3f}.jpg?width={width}"
        with self._calls.open("GET", at, None, accept="image/jpeg") as response:
            picture: bytes = response.read()
            return picture

    def clip(
        self, video: int | str, start_seconds: float, stop_seconds: float, path: str | Path
    ) -> Path:
        """Cut `[start, stop)` of a video into an MP4 that browsers play; return its path."""
        span = urlencode({"start": start_seconds, "stop": stop_seconds})
        at = f"/videos/{self._id(video)}/clip.mp4?{span}"
        with self._calls.open("GET", at, None, accept="video/mp4") as response:
            check_target(Path(path))
            with Path(path).open("wb") as out:
                copyfileobj(response, out)
        return Path(path)

    def jobs(
        self, status: JobStatus | None = None, *, after: str | None = None, limit: int | None = None
    ) -> list[Job]:
        """Return the jobs, newest first.

        `limit` gives a page of so many, those that come `after` one.
        """
        check_limit(limit)
        return list(islice(self._jobs(status, after=after, most=limit), limit))

    def job(self, job_id: str) -> Job:
        """Return a job by its id."""
        return job_of(self.call("GET", _job_at(job_id)))

    def cancel(self, job_id: str) -> Job:
        """Cancel a job that has not ended; a running one ends at its next commit."""
        return job_of(self.call("DELETE", _job_at(job_id)))

    def close(self) -> None:
        """Hold nothing: every call is a connection of its own."""

    # how it is asked

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request and return its JSON; a problem becomes the engine's own error."""
        return self._calls.json(method, path, body)

    def _id(self, video: int | str) -> int:
        return video if isinstance(video, int) else self.video(video).video_id

    def _videos(
        self,
        pattern: str | None,
        *,
        after: int = 0,
        most: int | None = None,
        where: str | None = None,
    ) -> Iterator[Video]:
        cursor: str | None = str(max(after, 0))
        while True:
            given = {"limit": _page(most), "name": pattern, "cursor": cursor, "where": where}
            page = self.call("GET", f"/videos?{query_of(given)}")
            yield from self._read(page["videos"])
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def _read(self, found: Sequence[Mapping[str, Any]]) -> Iterator[Video]:
        """Read videos; of which kind columns are is asked only where there are any."""
        kinds = self.columns() if any(video["columns"] for video in found) else {}
        return (video_of(video, kinds) for video in found)

    def _jobs(
        self, status: JobStatus | None, *, after: str | None, most: int | None
    ) -> Iterator[Job]:
        while True:
            size = _page(most)
            given = {"limit": size, "status": status, "after": after}
            page = [job_of(job) for job in self.call("GET", f"/jobs?{query_of(given)}")]
            yield from page
            if len(page) < size:
                return
            after = page[-1].job_id


def _asked(
    question: str,
    choices: Sequence[str] | None,
    videos: Sequence[int | str] | None,
    where: str | None,
    max_calls: int | None,
    max_frames: int | None,
) -> dict[str, Any]:
    return {
        "question": question,
        "choices": None if choices is None else list(choices),
        "videos": _listed(videos),
        "where": where,
        "max_calls": max_calls,
        "max_frames": max_frames,
    }


def _listed(videos: Sequence[int | str] | None) -> list[int | str] | None:
    check_videos(videos)
    return None if videos is None else list(videos)


def _job_at(job_id: str) -> str:
    """Return where a job is; an id that a URL cannot hold as one part is none."""
    if not job_id or "/" in job_id:
        raise NotFoundError(f"no job {job_id!r}")
    return f"/jobs/{quote(job_id, safe='')}"


def _page(most: int | None) -> int:
    """Return how many to ask for at once where at most so many are wanted."""
    return _PAGE if most is None else min(max(most, 1), _PAGE)
