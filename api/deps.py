"""What a route may ask for."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.config import Role, ServerSettings
from api.errors import Problem
from api.jobs import Jobs
from engine.errors import UsageError
from engine.session import Engine

T = TypeVar("T")
_bearer = HTTPBearer(auto_error=False, description="a key of DEJAVU_API_KEYS")


def get_engine(request: Request) -> Engine:
    """Return the engine that this server runs on."""
    engine: Engine = request.app.state.engine
    return engine


def get_settings(request: Request) -> ServerSettings:
    """Return the server's settings."""
    settings: ServerSettings = request.app.state.settings
    return settings


def get_jobs(request: Request) -> Jobs:
    """Return the server's queue."""
    jobs: Jobs = request.app.state.jobs
    return jobs


EngineDep = Annotated[Engine, Depends(get_engine)]
SettingsDep = Annotated[ServerSettings, Depends(get_settings)]
JobsDep = Annotated[Jobs, Depends(get_jobs)]
KeyDep = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def _role(request: Request, _key: KeyDep) -> Role | None:
    """Return what the guard at the door found; the key itself is asked for in /docs."""
    role: Role | None = request.scope["role"]
    return role


def may_write(role: Annotated[Role | None, Depends(_role)]) -> None:
    """Let only keys with the role write pass."""
    if role != "write":
        raise Problem(403, "this key has the role read; needed: write")


async def take_turn(request: Request, settings: ServerSettings, work: Callable[[], T]) -> T:
    """Run a query in a thread, in one of the places; its place is free when the thread has ended.

    Without a free place soon, or past the time limit, the caller is told to come back later.
    """
    places: asyncio.Semaphore = request.app.state.places
    try:
        await asyncio.wait_for(places.acquire(), settings.query_wait_seconds)
    except TimeoutError as error:
        said = f"{settings.max_queries} queries are running, as many as are allowed"
        raise Problem(503, said, retry_after="2") from error
    task = asyncio.ensure_future(asyncio.to_thread(work))

    def ended(done: "asyncio.Future[T]") -> None:
        places.release()
        if not done.cancelled():
            done.exception()  # looked at, also when nobody waits any more

    task.add_done_callback(ended)
    try:
        return await asyncio.wait_for(asyncio.shield(task), settings.query_seconds)
    except TimeoutError as error:
        said = f"the query ran longer than the {settings.query_seconds:g} seconds allowed"
        raise Problem(503, said, retry_after="10") from error


CanRead = Depends(_role)
CanWrite = Depends(may_write)


def inside_roots(settings: ServerSettings, given: str) -> Path:
    """Resolve a path that a request names; outside the allowed folders it is refused."""
    if "\0" in given:
        raise UsageError(f"path {given!r} is no path")
    path = Path(given)
    resolved = (path if path.is_absolute() else Path.cwd() / path).resolve()
    if not any(resolved.is_relative_to(root) for root in settings.roots):
        allowed = ", ".join(map(str, settings.roots)) or "none; set DEJAVU_VIDEO_ROOTS"
        raise Problem(403, f"{given!r} is outside the video roots; allowed: {allowed}")
    if not resolved.exists():
        raise Problem(404, f"no file {given!r}")
    return resolved
