"""`/videos`: bring in, list, show, remove, and look at them."""

import asyncio
import re
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from shutil import copyfileobj
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile

from api.allowances import Allowance
from api.chosen import Meant, checked, files_of
from api.deps import (
    CanRead,
    CanWrite,
    EngineDep,
    HeavyDep,
    JobsDep,
    RoleDep,
    SettingsDep,
    VideoId,
    expect_room,
)
from api.describe import problems
from api.errors import HttpProblem, without_paths
from api.forms import form_of
from api.named_model import check_named, check_source
from engine.caller import for_one_who
from engine.errors import UsageError, VideoError
from engine.footage import SourceState, source_of
from engine.objects.address import Place, place_of
from engine.session import Engine
from engine.storage.records import Video
from engine.video.container import file_stamp, probe
from engine.vision.strategies import check_strategy
from schemas.columns import as_json
from schemas.video import (
    Accepted,
    DeepenIn,
    ForecastOut,
    HowIn,
    MigrateIn,
    VideoIds,
    VideoIn,
    VideoOut,
    VideoPage,
)

router = APIRouter(prefix="/videos", tags=["videos"], dependencies=[CanRead])
_BLOCK = 1 << 20
_LONGEST = 80  # letters of a name; at four bytes each it still fits a file system's 255
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
M = TypeVar("M", bound=BaseModel)


_VIDEO = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": VideoIn.model_json_schema()},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        **HowIn.model_json_schema()["properties"],
                    },
                }
            },
        },
    }
}


@router.post(
    "",
    status_code=202,
    dependencies=[CanWrite, expect_room],
    responses=problems(404, 422, 429),
    openapi_extra=_VIDEO,
)
async def post_video(
    request: Request, response: Response, engine: EngineDep, jobs: JobsDep, settings: SettingsDep
) -> Accepted:
    """Bring in videos: an upload as multipart form field `file`, or a path the server can see.

    The path of a folder means the videos in it, a glob what it matches, less what `include` and
    `exclude` leave out.
    """
    kind = request.headers.get("content-type", "")
    allowance: Allowance | None = request.scope.get("allowance")
    if kind.startswith("multipart/form-data"):
        if allowance is not None:
            allowance.expect(int(request.headers.get("content-length", "1")))
        async with form_of(request, engine.layout.uploads) as form:
            how = _valid(HowIn, {name: form[name] for name in form if name != "file"})
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise HttpProblem(422, "file is missing")
            options = _options(how)
            await asyncio.to_thread(_check_columns, engine, how)
            path = await asyncio.to_thread(_keep, file, engine.layout.uploads)
            try:
                await _bring_in(allowance, lambda: [path])
            except HttpProblem:
                path.unlink()
                raise
            meant = Meant((str(path),))
    else:
        body = _valid(VideoIn, await request.body() or b"{}")
        options = _options(body)
        meant = Meant((body.path,), tuple(body.include), tuple(body.exclude))
        meant = await asyncio.to_thread(checked, meant, settings)
        await asyncio.to_thread(_check_columns, engine, body)
        chosen = meant
        await _bring_in(allowance, lambda: [each.path for each in files_of(chosen, settings)[0]])
    job = jobs.submit("ingest", {**meant.as_dict(), "options": options})
    response.headers["Location"] = f"/jobs/{job}"
    return Accepted(id=job, job_url=f"/jobs/{job}", status="queued")


@router.post("/forecast", dependencies=[CanWrite], responses=problems(404, 422))
async def forecast_videos(
    request: Request, body: VideoIn, engine: EngineDep, heavy: HeavyDep, settings: SettingsDep
) -> ForecastOut:
    """Tell what bringing in a path would do: files, frames, time and disk; nothing is written."""
    how = _options(body)

    def foresee() -> ForecastOut:
        meant = checked(Meant((body.path,), tuple(body.include), tuple(body.exclude)), settings)
        files, left_out = files_of(meant, settings)
        told = engine.forecast(files, **how).as_dict()
        return ForecastOut.model_validate({**told, "left_out": left_out})

    return await heavy.clips.take(foresee, request)


@router.post(
    "/deepen",
    status_code=202,
    dependencies=[CanWrite, expect_room],
    responses=problems(422, 429),
)
def deepen_videos(response: Response, jobs: JobsDep, body: DeepenIn) -> Accepted:
    """Embed in the background what coarse videos lack, most changed places first."""
    job = jobs.submit("deepen", {"deepen": body.model_dump()})
    response.headers["Location"] = f"/jobs/{job}"
    return Accepted(id=job, job_url=f"/jobs/{job}", status="queued")


@router.post(
    "/migrate",
    status_code=202,
    dependencies=[CanWrite, expect_room],
    responses=problems(403, 404, 422, 429),
)
def migrate_videos(
    response: Response, engine: EngineDep, jobs: JobsDep, settings: SettingsDep, body: MigrateIn
) -> Accepted:
    """Embed everything anew by another model in the background; queries turn when it is all there.

    Cancelled or failed, nothing has changed for who asks, and the same request goes on there.
    """
    check_named(engine, settings, body.to)
    check_source(engine, body.source)
    job = jobs.submit("migrate", {"migrate": body.model_dump()})
    response.headers["Location"] = f"/jobs/{job}"
    return Accepted(id=job, job_url=f"/jobs/{job}", status="queued")


@router.get("")
def list_videos(
    engine: EngineDep,
    role: RoleDep,
    name: Annotated[str | None, Query(description="a name or a glob")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[str | None, Query(description="next_cursor of the page before")] = None,
    where: Annotated[
        str | None, Query(max_length=2000, description="a condition on columns of videos, in SQL")
    ] = None,
) -> VideoPage:
    """List videos in the order they came in; `name` may be a glob."""
    after = 0 if cursor is None else _number(cursor)
    with for_one_who(sees_folders=role == "write", may_change=False):
        page = engine.videos(name, after=after, limit=limit + 1, where=where)
    more = len(page) > limit
    return VideoPage(
        videos=[video_out(video, role) for video in page[:limit]],
        next_cursor=str(page[limit - 1].video_id) if more else None,
    )


@router.get("/ids")
def list_ids(
    engine: EngineDep,
    name: Annotated[str | None, Query(description="a name or a glob")] = None,
) -> VideoIds:
    """List the ids alone, so that any page of a long list can be asked for."""
    return VideoIds(ids=engine.video_ids(name))


@router.get("/named", responses=problems(404))
def show_named_video(
    engine: EngineDep, role: RoleDep, name: Annotated[str, Query(description="one of its names")]
) -> VideoOut:
    """Show the video that has a name; where there is none, the nearest name is told."""
    found = engine.video(name)
    return video_out(found, role, source_of(found))


@router.get("/{video_id}", responses=problems(404))
def show_video(engine: EngineDep, role: RoleDep, video_id: VideoId) -> VideoOut:
    """Show one video and what its ingest reported."""
    found = engine.video(video_id)
    return video_out(found, role, source_of(found))


@router.delete("/{video_id}", status_code=204, dependencies=[CanWrite], responses=problems(404))
def remove_video(engine: EngineDep, video_id: VideoId) -> None:
    """Remove a video's rows from store and index; the file itself stays, uploads go too."""
    engine.remove(video_id)


def _valid(kind: type[M], given: bytes | Mapping[str, object]) -> M:
    """Check a body that FastAPI does not check itself, and fail as it would."""
    try:
        if isinstance(given, bytes):
            return kind.model_validate_json(given)
        return kind.model_validate(given)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        located = [
            {**each, "loc": ("body", *each["loc"]), "ctx": {**each.get("ctx", {}), "model": kind}}
            for each in errors
        ]
        raise RequestValidationError(located) from error


def _options(how: HowIn) -> dict[str, Any]:
    """Return what an ingest is told; a strategy that nobody knows is refused before it waits."""
    if how.strategy is not None:
        check_strategy(how.strategy)
    return how.model_dump(include=set(HowIn.model_fields), exclude_none=True)


async def _bring_in(allowance: Allowance | None, files: Callable[[], list[Place]]) -> None:
    """Refuse files that are more than the key has left, known ones too; else they are used up."""
    if allowance is None or not (
        allowance.limits("ingest_bytes") or allowance.limits("ingest_hours")
    ):
        return

    def weigh() -> tuple[int, float]:
        paths = files()
        timed = paths if allowance.limits("ingest_hours") else []
        return sum(file_stamp(path)[1] for path in paths), sum(map(_hours, timed))

    allowance.bring_in(*await asyncio.to_thread(weigh))


def _hours(path: Place) -> float:
    try:
        return probe(path).duration_seconds / 3600
    except VideoError:  # the job says why it cannot be used
        return 0.0


def _check_columns(engine: Engine, how: HowIn) -> None:
    """Refuse what columns cannot hold before it waits; those that are new are made."""
    if how.columns:
        engine.tag((), how.columns)


def _keep(file: UploadFile, folder: Path) -> Path:
    """Stream an upload to disk under its own name, cleaned of anything but a file name."""
    folder.mkdir(parents=True, exist_ok=True)
    last = re.split(r"[/\\]", file.filename or "")[-1]
    given = Path(_CONTROL.sub("", last).lstrip(".") or "upload")
    stem, suffix = given.stem[-_LONGEST:], given.suffix[:16]
    for number in count():
        target = folder / f"{stem}{f'-{number}' if number else ''}{suffix}"
        try:
            with target.open("xb") as out:
                copyfileobj(file.file, out, _BLOCK)
        except FileExistsError:
            continue
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        return target
    raise AssertionError("counting never ends")


def _number(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and int(cursor) < 2**63):
        raise UsageError(f"cursor {cursor[:80]!r} did not come from this list")
    return int(cursor)


def _is_gone(path: str) -> bool | None:
    """Whether a file is gone; objects elsewhere are not asked for, a list would ask for many."""
    place = place_of(path)
    return not place.exists() if isinstance(place, Path) else None


def video_out(video: Video, role: str | None, source: SourceState | None = None) -> VideoOut:
    """Return a video as a caller is told of it; `source` where its object was asked for."""
    return VideoOut(
        id=video.video_id,
        name=video.name,
        names=list(video.names),
        content_hash=video.content_hash,
        size_bytes=video.size_bytes,
        duration_seconds=video.duration_seconds,
        fps=video.fps,
        width=video.width,
        height=video.height,
        codec=video.codec,
        num_frames=video.num_frames,
        ingested_at=video.ingested_at,
        recorded_at=video.recorded_at,
        recorded_from=video.recorded_from,
        columns=as_json(video.columns),
        status=video.status,
        source_gone=_is_gone(video.path) if source is None else source.gone,
        source_changed=None if source is None else source.changed,
        error=without_paths(video.error, role),
        report=without_paths(video.report, role),
    )
