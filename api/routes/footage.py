"""`/videos/{id}/…`: what a video looks like: frames, a sprite of many, clips."""

import asyncio
from collections.abc import Callable
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import FileResponse

from api.deps import CanRead, EngineDep, HeavyDep, SettingsDep, VideoId
from api.describe import problems
from api.errors import HttpProblem
from api.shelf import key_of
from engine.errors import UsageError, VideoError
from engine.footage import Footage
from engine.session import Engine
from engine.video.write import CLIP

router = APIRouter(prefix="/videos", tags=["videos"], dependencies=[CanRead])


def _file(media: str) -> dict[int | str, dict[str, Any]]:
    """Describe the answers that hold a file."""
    content = {media: {"schema": {"type": "string", "format": "binary"}}}
    return {
        200: {"description": "The file", "content": content},
        206: {"description": "The part of it that Range asks for", "content": content},
        304: {"description": "If-None-Match names what it still is"},
    }


@router.get(
    "/{video_id}/frames/{seconds}.jpg",
    response_class=FileResponse,
    responses={**_file("image/jpeg"), **problems(404, 409, 416)},
)
async def get_frame(
    engine: EngineDep,
    heavy: HeavyDep,
    video_id: VideoId,
    seconds: float,
    width: Annotated[int, Query(ge=16, le=3840)] = 480,
    if_none_match: Annotated[str, Header()] = "",
) -> Response:
    """Return the frame shown at an instant as JPEG, drawn once and kept for a while."""
    if not isfinite(seconds):
        raise UsageError(f"seconds {seconds}; allowed: a time in the video")
    footage = await asyncio.to_thread(_footage, engine, video_id)
    first, last = footage.span
    seconds = round(min(max(seconds, first), last), 3)  # beyond an end it is the picture there

    def draw(path: Path) -> None:
        path.write_bytes(footage.frame(seconds, width))

    key = key_of(footage.video.content_hash, seconds, width)
    return await _drawn(heavy, video_id, key, draw, if_none_match)


@router.get(
    "/{video_id}/sprite.jpg",
    response_class=FileResponse,
    responses={**_file("image/jpeg"), **problems(404, 409)},
)
async def get_sprite(
    engine: EngineDep,
    heavy: HeavyDep,
    video_id: VideoId,
    tiles: Annotated[int, Query(ge=1, le=200, description="pictures, ten in a row")] = 100,
    width: Annotated[int, Query(ge=16, le=320, description="the longer side of each")] = 160,
    if_none_match: Annotated[str, Header()] = "",
) -> Response:
    """Return pictures of a whole video in one JPEG, for scrubbing; drawn once and kept a while.

    Tile n shows the middle of the n-th of so many equal parts of the video, or the first picture
    of the group of pictures there, where that is cheaper.
    """
    footage = await asyncio.to_thread(_footage, engine, video_id)

    def draw(path: Path) -> None:
        path.write_bytes(footage.sprite(tiles, width))

    key = key_of(footage.video.content_hash, "sprite", tiles, width)
    return await _drawn(heavy, video_id, key, draw, if_none_match)


@router.get(
    "/{video_id}/clip.mp4",
    response_class=FileResponse,
    responses={**_file("video/mp4"), **problems(404, 409, 416)},
)
async def get_clip(
    engine: EngineDep,
    heavy: HeavyDep,
    settings: SettingsDep,
    video_id: VideoId,
    start: float,
    stop: float,
    if_none_match: Annotated[str, Header()] = "",
) -> Response:
    """Cut `[start, stop)` into a file that browsers play; answers range requests.

    What was cut is kept for a while: seeking and playing again cut nothing.
    """
    if not 0 < stop - start <= settings.clip_seconds:
        allowed = f"a clip of up to {settings.clip_seconds:g} seconds"
        raise UsageError(f"start {start:g}, stop {stop:g}; allowed: {allowed}")
    footage = await asyncio.to_thread(_footage, engine, video_id)
    first, last = footage.span
    if start >= last or stop <= first:
        raise UsageError(f"start {start:g}, stop {stop:g}; the video is {first:g} to {last:g}")
    start, stop = round(max(start, 0.0), 3), round(stop, 3)
    key = key_of(footage.video.content_hash, start, stop, CLIP)
    headers = _headers(key)
    if _is_known(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    cut = partial(footage.clip, start, stop)
    path = await heavy.shelf.get(video_id, f"{key}.mp4", cut, heavy.clips)
    return FileResponse(path, media_type="video/mp4", headers=headers)


def _footage(engine: Engine, video_id: int) -> Footage:
    """Return what a video's frames are read from; one without frames is in no state for it."""
    try:
        return engine.footage(video_id)
    except VideoError as error:
        raise HttpProblem(409, str(error), kind=type(error)) from error


def _headers(key: str) -> dict[str, str]:
    return {"ETag": f'"{key}"', "Cache-Control": "private, max-age=86400"}


async def _drawn(
    heavy: HeavyDep, video_id: int, key: str, draw: Callable[[Path], None], if_none_match: str
) -> Response:
    """Return a picture, drawn unless it is kept, or that the caller has it already."""
    headers = _headers(key)
    if _is_known(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    path = await heavy.shelf.get(video_id, f"{key}.jpg", draw, heavy.pictures)
    return FileResponse(path, media_type="image/jpeg", headers=headers)


def _is_known(tag: str, given: str) -> bool:
    """Whether a caller has it, by If-None-Match."""
    return given.strip() == "*" or tag in (
        each.strip().removeprefix("W/") for each in given.split(",")
    )
