"""Errors as problem+json (RFC 9457), each with the request's id."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from math import ceil
from typing import Any, TypeVar

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from api.faults import fault
from engine.errors import (
    EngineError,
    ExecutionError,
    LimitError,
    LookerError,
    ModelError,
    NotFoundError,
    ObjectError,
    QueryError,
    SourceChangedError,
    StoreError,
    UnreachedError,
    UnreachedModelError,
    UsageError,
    VideoError,
)
from engine.objects.address import BUCKETS
from engine.sharding.shards import LostShardsError
from schemas.letters import sayable

_STATUS: tuple[tuple[type[EngineError], int], ...] = (
    (NotFoundError, 404),
    (LostShardsError, 502),
    (UnreachedError, 502),
    (ObjectError, 502),
    (LookerError, 502),
    (UnreachedModelError, 502),
    (QueryError, 400),
    (UsageError, 400),
    (SourceChangedError, 409),
    (VideoError, 422),
    (ModelError, 500),
    (StoreError, 503),
    (ExecutionError, 500),
)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_KINDS: Mapping[int, type[EngineError]] = {  # of what is wrong before the engine is asked
    404: NotFoundError,
    408: LimitError,
    429: LimitError,
    500: ExecutionError,
    503: LimitError,
}
GONE = 499  # not of the standard, but what proxies call it
MEDIA = "application/problem+json"
_FOLDERS = re.compile(  # of a path, or an address, whose last name stays
    r"(?P<scheme>\b[a-z][a-z0-9+.-]*)://(?P<in>[^\s'\",;]*/)?(?P<name>[^\s'\",;/]*)"
    r"|(?<![\w.…])/+(?:[^\s/'\",:;]+/)+"
)
T = TypeVar("T")


class HttpProblem(HTTPException):
    """An error of HTTP itself: a limit, a missing key, a file out of bounds."""

    def __init__(
        self, status: int, detail: str, *, kind: type[EngineError] | None = None, **headers: str
    ) -> None:
        self.kind = kind or _KINDS.get(status, UsageError)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        super().__init__(status, detail, named)


def without_paths(value: T, role: str | None) -> T:
    """Leave of each absolute path or address of a video its last name, for who may only look."""
    return value if role == "write" else _bare(value)


def _sayable(value: Any) -> Any:
    """Write out what UTF-8 has no letter for, so that what is wrong with it can be told."""
    if isinstance(value, str):
        return sayable(value)
    if isinstance(value, Mapping):
        return {sayable(name): _sayable(item) for name, item in value.items()}
    return [_sayable(item) for item in value] if isinstance(value, list) else value


def _bare(value: Any) -> Any:
    if isinstance(value, str):
        return _FOLDERS.sub(_named, value)
    if isinstance(value, Mapping):
        return {name: _bare(item) for name, item in value.items()}
    return [_bare(item) for item in value] if isinstance(value, list) else value


def _named(found: re.Match[str]) -> str:
    """Return what stays of a path or an address; of servers all does."""
    scheme, inside, name = found["scheme"], found["in"], found["name"]
    if scheme is None:
        return ""
    held = scheme in (*BUCKETS, "file") or (scheme == "https" and "." in name)
    if not held or inside is None:
        return found[0]
    return name or f"{inside.rstrip('/').rpartition('/')[2]}/"


def problem(
    request: Request,
    status: int,
    detail: str,
    *,
    kind: type[EngineError] | None = None,
    headers: Any = None,
    **more: Any,
) -> JSONResponse:
    """Build the response for one error; `kind` is what a client raises for it."""
    role = request.scope.get("role")
    kind = kind or _KINDS.get(status, UsageError)
    if kind is LimitError:
        more = {"limit": "time" if status == HTTPStatus.REQUEST_TIMEOUT else "busy", **more}
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail if request.url.path in detail else without_paths(detail, role),
        "kind": kind.__name__,
        "instance": request.url.path,
        "request_id": request.scope.get("request_id", ""),
        **more,
    }
    return JSONResponse(_sayable(body), status, media_type=MEDIA, headers=dict(headers or {}))


def problem_of(request: Request, error: EngineError) -> JSONResponse:
    """Build the response for an error of the engine."""
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    more: dict[str, Any] = {}
    if isinstance(error, LimitError):
        more["limit"] = error.kind
        if error.kind in ("time", "busy", "calls"):
            status = 429 if error.kind == "calls" else 503  # later, or with less to do, it may go
            more["headers"] = {"Retry-After": str(ceil(error.again_seconds))}
    if isinstance(error, QueryError) and error.position is not None:
        more |= {"position": error.position, "caret": error.caret()}
    return problem(request, status, str(error), kind=type(error), **more)


def handle_errors(app: FastAPI) -> None:
    """Register a handler for every kind of error that is foreseen."""

    @app.exception_handler(EngineError)
    async def engine_error(request: Request, error: EngineError) -> JSONResponse:
        return problem_of(request, error)

    @app.exception_handler(RequestValidationError)
    async def not_valid(request: Request, error: RequestValidationError) -> JSONResponse:
        kind = request.headers.get("content-type", "none")
        errors = [fault(each, kind, _body_of(request)) for each in error.errors()]
        return problem(request, 422, errors[0]["problem"], errors=errors)

    @app.exception_handler(AnyHTTPException)
    async def http_error(request: Request, error: AnyHTTPException) -> JSONResponse:
        said, headers = error.detail, dict(error.headers or {})
        if not isinstance(error, HTTPException):  # of the router, whose words say nothing
            if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
                headers["Allow"] = allowed_at(request)
            said = _refused(request, error, headers)
        named = error.kind if isinstance(error, HttpProblem) else None
        return problem(request, error.status_code, said, kind=named, headers=headers)

    @app.exception_handler(RecursionError)
    async def too_deep(request: Request, _: RecursionError) -> JSONResponse:
        return problem(request, 400, "the request is nested too deeply")

    @app.exception_handler(ClientDisconnect)
    async def gone(_request: Request, _: ClientDisconnect) -> Response:
        return Response(status_code=GONE)  # which nobody reads, but the figures count it


def allowed_at(request: Request) -> str:
    """Return every method that a path takes; the router knows those of its first route alone."""
    routes = request.app.routes
    taken = {
        method
        for method in METHODS
        if any(r.matches({**request.scope, "method": method})[0] is Match.FULL for r in routes)
    }
    return ", ".join(sorted(taken | ({"HEAD"} if "GET" in taken else set())))


def _refused(request: Request, error: AnyHTTPException, headers: Mapping[str, str]) -> str:
    """Say what the router or the reader of bodies found wrong."""
    asked = f"{request.method} {request.url.path}"
    if error.status_code == HTTPStatus.BAD_REQUEST:
        return "the body cannot be read; expected JSON in UTF-8, or a form with its boundary"
    if "Allow" in headers:
        return f"{asked}; allowed: {headers['Allow']}"
    return f"{asked} is none of this API's endpoints; /docs lists them"


def _body_of(request: Request) -> type | None:
    """Return the model of the body that a path takes, if it takes one."""
    field = getattr(request.scope.get("route"), "body_field", None)
    return None if field is None else field.field_info.annotation
