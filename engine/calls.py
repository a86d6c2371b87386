"""ServerCalls of a running server over HTTP: a problem comes back as the engine's own error."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from engine import errors
from engine.errors import EngineError, ExecutionError, LimitError, QueryError, UsageError

ARROW = "application/vnd.apache.arrow.stream"
EVENTS = "text/event-stream"
_KINDS: Mapping[str, type[EngineError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, EngineError)
}


class ServerCalls:
    """A server's URL and the key that it is asked with; each call is a connection of its own."""

    def __init__(self, url: str, key: str | None = None, seconds: float | None = None) -> None:
        self.url = url.rstrip("/")
        self._key = key
        self._seconds = seconds  # that it may say nothing for; None: as long as it takes

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request and return its JSON."""
        with self.open(method, path, body, accept="application/json") as response:
            data = response.read()
        return json.loads(data) if data else None

    def events(self, path: str, body: Any) -> Iterator[tuple[str, Any]]:
        """Post a request and yield the names and data of the events that it is answered with."""
        with self.open("POST", path, body, accept=EVENTS) as response:
            name = ""
            for line in response:
                field, _, value = line.decode().rstrip("\r\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "data" and name == "error":
                    raise _error(json.loads(value), body)
                elif field == "data":
                    yield name, json.loads(value)

    def open(self, method: str, path: str, body: Any, *, accept: str) -> Any:
        """Send a request and return the response, to be read and closed."""
        headers = {"Accept": accept, "Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            data = None if body is None else json.dumps(body).encode()
        except TypeError as error:
            raise UsageError(f"a server takes what JSON has words for: {error}") from error
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            return urllib.request.urlopen(request, timeout=self._seconds)
        except urllib.error.HTTPError as error:
            raise _problem(error, body) from error
        except OSError as error:
            raise ExecutionError(f"the server at {self.url} does not answer: {error}") from error


def query_of(given: Mapping[str, Any]) -> str:
    """Return the query of a URL: what is None is not in it."""
    return urlencode({name: value for name, value in given.items() if value is not None})


def _problem(error: urllib.error.HTTPError, body: Any) -> EngineError:
    with error:
        text = error.read()
    try:
        found = json.loads(text)
        detail = str(found["detail"])
    except (ValueError, KeyError, TypeError):
        return ExecutionError(f"the server answered {error.code}")
    if error.code == 401:
        return UsageError(f"the server asks for a key ({detail}); set DEJAVU_API_KEYS")
    return _error(found, body)


def _error(found: Mapping[str, Any], body: Any) -> EngineError:
    """Return the error that a problem tells of."""
    kind, detail = _KINDS.get(found.get("kind", ""), ExecutionError), str(found["detail"])
    if not issubclass(kind, QueryError):
        return kind(detail)
    place = {"sql": (body or {}).get("sql", ""), "position": found.get("position")}
    if issubclass(kind, LimitError):
        return kind(detail, kind=found["limit"], **place)
    return kind(detail, **place)
