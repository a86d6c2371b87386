"""What a route may ask for."""

import os
import pathlib
from dataclasses import dataclass
from glob import has_magic
from typing import Annotated

from fastapi import Depends, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.config import ServerSettings
from api.errors import HttpProblem
from api.jobs import Jobs
from api.keys import Role
from api.shelf import Shelf
from api.turns import Turns
from engine.errors import UsageError
from engine.objects.address import Address, read_address
from engine.session import Engine

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


@dataclass(frozen=True, slots=True)
class Heavy:
    """The turns of each kind of work that takes long, and the files that some of it leaves."""

    queries: Turns
    clips: Turns
    pictures: Turns
    shelf: Shelf

    def close(self) -> None:
        """Start nothing more."""
        for turns in (self.queries, self.clips, self.pictures):
            turns.close()


def heavy_work(settings: ServerSettings, folder: pathlib.Path) -> Heavy:
    """Return a server's places: pictures get half of the cores, so that queries have the rest."""
    half = max(1, (os.cpu_count() or 1) // 2)
    return Heavy(
        queries=Turns(
            *("queries", settings.max_queries),
            wait_seconds=settings.query_wait_seconds,
            seconds=settings.query_seconds,
        ),
        clips=Turns("clips", 2, wait_seconds=60.0, seconds=300.0),  # each uses all cores
        pictures=Turns("pictures", half, wait_seconds=20.0, seconds=60.0),
        shelf=Shelf(folder, settings.clip_cache_bytes),
    )


def get_heavy(request: Request) -> Heavy:
    """Return the server's places."""
    heavy: Heavy = request.app.state.heavy
    return heavy


EngineDep = Annotated[Engine, Depends(get_engine)]
SettingsDep = Annotated[ServerSettings, Depends(get_settings)]
VideoId = Annotated[int, Path(ge=0, lt=2**63)]
HeavyDep = Annotated[Heavy, Depends(get_heavy)]
JobsDep = Annotated[Jobs, Depends(get_jobs)]
KeyDep = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def _role(request: Request, _key: KeyDep) -> Role | None:
    """Return what the guard at the door found; the key itself is asked for in /docs."""
    role: Role | None = request.scope["role"]
    return role


RoleDep = Annotated[Role | None, Depends(_role)]


def may_write(role: RoleDep) -> None:
    """Let only keys with the role write pass."""
    if role != "write":
        raise HttpProblem(403, "this key has the role read; needed: write")


def _expect_room(jobs: JobsDep, settings: SettingsDep) -> None:
    """Refuse work where as much as is allowed waits already."""
    if jobs.num_queued() >= settings.max_queued_jobs:
        said = f"{settings.max_queued_jobs} jobs are waiting, the most allowed"
        raise HttpProblem(429, said, retry_after="30")


expect_room = Depends(_expect_room)
CanRead = Depends(_role)
CanWrite = Depends(may_write)


def address_inside_roots(settings: ServerSettings, given: str) -> Address:
    """Read an address that a request names; outside the allowed ones nothing is asked for."""
    address = read_address(given)
    parts = address.key.split("/")
    fixed = next((at for at, part in enumerate(parts) if has_magic(part)), len(parts))
    if has_magic(address.bucket) or not settings.allows(address.below("/".join(parts[:fixed]))):
        allowed = ", ".join(map(str, settings.roots)) or "none; set DEJAVU_VIDEO_ROOTS"
        raise HttpProblem(403, f"{given!r} is outside the video roots; allowed: {allowed}")
    return address


def inside_roots(settings: ServerSettings, given: str) -> pathlib.Path:
    """Resolve a path that a request names; outside the allowed folders it is refused."""
    if "\0" in given:
        raise UsageError(f"path {given!r} is no path")
    path = pathlib.Path(given)
    resolved = (path if path.is_absolute() else pathlib.Path.cwd() / path).resolve()
    if not settings.allows(resolved):
        allowed = ", ".join(map(str, settings.roots)) or "none; set DEJAVU_VIDEO_ROOTS"
        raise HttpProblem(403, f"{given!r} is outside the video roots; allowed: {allowed}")
    if not resolved.exists():
        raise HttpProblem(404, f"no file {given!r}")
    return resolved
