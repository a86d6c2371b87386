"""A running server, held like an engine: what a command uses when a server has the data folder."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from engine.errors import EngineError, ExecutionError, NotFoundError, QueryError, UsageError
from engine.results import Answer, Coverage, GroupBy, Moment, QueryResult

if TYPE_CHECKING:
    import pyarrow as pa

ARROW = "application/vnd.apache.arrow.stream"
_POLL_SECONDS = 0.3
_ERRORS: Mapping[int, type[EngineError]] = {
    400: UsageError,
    403: UsageError,
    404: NotFoundError,
    422: UsageError,
}


class Remote:
    """The engine behind a URL."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self.url = url
        self._key = key

    def query(
        self,
        text: str,
        top_k: int = 10,
        videos: Sequence[int | str] | None = None,
        group_by: GroupBy = "moment",
        min_score: float | None = None,
        exact: bool | None = None,
    ) -> QueryResult:
        """Find the moments that fit a text."""
        body = {
            "text": text,
            "top_k": top_k,
            "videos": list(videos) if videos else None,
            "group_by": group_by,
            "min_score": min_score,
            "options": {"exact": exact, "explain": True},
        }
        found = self.call("POST", "/query", body)
        return QueryResult(
            [_moment(moment) for moment in found["moments"]],
            Coverage(**found["coverage"]),
            found["timing"],
            found["plan"],
        )

    def ask(
        self,
        question: str,
        choices: Sequence[str] | None = None,
        videos: Sequence[int | str] | None = None,
    ) -> Answer:
        """Answer a question with the moments that support it."""
        body = {
            "text": question,
            "mode": "grounded_qa",
            "choices": list(choices) if choices else None,
            "videos": list(videos) if videos else None,
        }
        found = self.call("POST", "/query", body)["answer"]
        evidence = [_moment(moment) for moment in found.pop("evidence")]
        return Answer(evidence=evidence, **found)

    def sql(self, sql: str, /, **named: Any) -> "pa.Table":
        """Run a SELECT and return its rows."""
        import pyarrow as pa

        data = self._open("POST", "/sql", {"sql": sql, "params": named or None}, accept=ARROW)
        return pa.ipc.open_stream(data).read_all()

    def ingest(
        self,
        path: Path,
        options: Mapping[str, Any],
        progress: Callable[[Mapping[str, Any]], None],
    ) -> dict[str, Any]:
        """Have the server bring in a path that it can see; return the job when it has ended."""
        job = self.call("POST", "/videos", {"path": str(path.resolve()), **options})
        while True:
            found: dict[str, Any] = self.call("GET", job["job_url"])
            progress(found["progress"])
            if found["status"] in ("ready", "failed", "cancelled"):
                return found
            time.sleep(_POLL_SECONDS)

    def videos(self, name: str | None = None) -> list[dict[str, Any]]:
        """List all videos."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            given = {"limit": "500", "name": name, "cursor": cursor}
            query = urlencode({key: value for key, value in given.items() if value is not None})
            page = self.call("GET", f"/videos?{query}")
            found += page["videos"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def fetch(self, path: str) -> bytes:
        """Return a file's bytes."""
        return self._open("GET", path, None, accept="*/*")

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request and return its JSON; a problem becomes the engine's own error."""
        data = self._open(method, path, body, accept="application/json")
        return json.loads(data) if data else None

    def _open(self, method: str, path: str, body: Any, *, accept: str) -> bytes:
        headers = {"Accept": accept, "Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request) as response:
                content: bytes = response.read()
                return content
        except urllib.error.HTTPError as error:
            raise _problem(error, body) from error
        except OSError as error:
            raise ExecutionError(f"the server at {self.url} does not answer: {error}") from error


def _problem(error: urllib.error.HTTPError, body: Any) -> EngineError:
    try:
        found = json.loads(error.read())
        detail = str(found["detail"])
    except (ValueError, KeyError, TypeError):
        return ExecutionError(f"the server answered {error.code}")
    if "position" in found:
        return QueryError(detail, sql=body.get("sql", ""), position=found["position"])
    if error.code == 401:
        return UsageError(f"the server asks for a key ({detail}); set DEJAVU_API_KEYS")
    return _ERRORS.get(error.code, ExecutionError)(detail)


def _moment(found: Mapping[str, Any]) -> Moment:
    return Moment(**{field.name: found[field.name] for field in fields(Moment)})
