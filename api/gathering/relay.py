"""`/videos…` of all shards: lists are joined, and what is of one video is asked of its shard."""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Annotated, Any
from urllib.parse import quote, urlencode, urlsplit

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from api.deps import CanRead, VideoId
from api.describe import problems
from api.errors import MEDIA
from api.gathering.deps import CallerKey, Gathering, GatheringDep
from engine.calls import query_of
from engine.errors import NotFoundError, UsageError
from engine.sharding.shards import LostShardsError, Shard, Shards
from schemas.curve import ActivityOut, CurveOut
from schemas.video import VideoIds, VideoOut, VideoPage

router = APIRouter(prefix="/videos", tags=["videos"], dependencies=[CanRead])
_BLOCK = 1 << 16
_ASKED = ("range", "if-none-match", "if-range", "x-request-id", "accept")  # that are passed on
_TOLD = ("content-type", "content-length", "content-range", "accept-ranges", "etag")
_TOLD_TOO = ("cache-control", "last-modified", "retry-after")
_FILE: dict[int | str, dict[str, Any]] = {200: {"description": "The file, from its shard"}}


@router.get("")
async def list_videos(
    gathering: GatheringDep,
    key: CallerKey,
    name: Annotated[str | None, Query(description="a name or a glob")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[str | None, Query(description="next_cursor of the page before")] = None,
    where: Annotated[str | None, Query(max_length=2000, description="as of one server")] = None,
) -> VideoPage:
    """List the videos of all shards, those of one after those of another."""
    if where is not None and "video_id" in where.lower():
        raise UsageError("where names video_id, which each shard counts for itself")

    def read() -> VideoPage:
        shards, first, after = gathering.shards, 0, None
        if cursor is not None:
            if not (cursor.isascii() and cursor.isdigit() and int(cursor) < 2**63):
                raise UsageError(f"cursor {cursor[:80]!r} did not come from this list")
            shard, own = shards.of_video(int(cursor))
            first, after = shard.place, str(own)
        found: list[VideoOut] = []
        for shard in shards.all[first:]:
            if len(found) == limit:
                return VideoPage(videos=found, next_cursor=str(shard.id_of(0)))
            given = {"name": name, "limit": limit - len(found), "cursor": after, "where": where}
            page = VideoPage.model_validate(_json(shards, shard, f"/videos?{query_of(given)}", key))
            found += [_numbered(video, shard) for video in page.videos]
            if page.next_cursor is not None:
                at = str(shard.id_of(int(page.next_cursor)))
                return VideoPage(videos=found, next_cursor=at)
            after = None
        return VideoPage(videos=found, next_cursor=None)

    return await gathering.relays.take(read)


@router.get("/ids")
async def list_ids(
    gathering: GatheringDep,
    key: CallerKey,
    name: Annotated[str | None, Query(description="a name or a glob")] = None,
) -> VideoIds:
    """List the ids alone of the videos of all shards."""
    shards, path = gathering.shards, f"/videos/ids?{query_of({'name': name})}"

    def read() -> VideoIds:
        told = shards.each(shards.all, lambda shard: _asked(shards, shard, path, key))
        ids = [shard.id_of(own) for shard, found in told.items() for own in found["ids"]]
        return VideoIds(ids=ids)

    return await gathering.relays.take(read)


@router.get("/named", responses=problems(404))
async def show_named_video(
    gathering: GatheringDep,
    key: CallerKey,
    name: Annotated[str, Query(description="one of its names, or SHARD:NAME")],
) -> VideoOut:
    """Show the video that has a name; where several shards have one, SHARD:NAME says which."""

    def read() -> VideoOut:
        shards = gathering.shards
        given, mark, rest = name.partition(":")
        owner = next((each for each in shards.all if mark and each.name == given), None)
        own = name if owner is None else rest

        def ask(shard: Shard) -> VideoOut | NotFoundError:
            try:
                path = f"/videos/named?{urlencode({'name': own})}"
                return _numbered(VideoOut.model_validate(_asked(shards, shard, path, key)), shard)
            except NotFoundError as error:
                return error

        told = shards.each(shards.all if owner is None else [owner], ask)
        found = {shard: each for shard, each in told.items() if isinstance(each, VideoOut)}
        if len(found) > 1:
            said = ", ".join(f"{shard.name}:{own}" for shard in found)
            raise UsageError(f"{len(found)} shards have a video {own!r}; allowed: {said}")
        if not found:
            raise NotFoundError(f"no video {own!r} in {'any shard' if owner is None else given}")
        return next(iter(found.values()))

    return await gathering.relays.take(read)


@router.get("/{video_id}", responses=problems(404))
async def show_video(gathering: GatheringDep, key: CallerKey, video_id: VideoId) -> VideoOut:
    """Show one video, as its shard knows it."""
    shard, found = await _of_shard(gathering, key, video_id, "")
    return _numbered(VideoOut.model_validate(found), shard)


@router.get("/{video_id}/curve", responses=problems(404))
async def get_curve(
    gathering: GatheringDep, key: CallerKey, video_id: VideoId, request: Request
) -> CurveOut:
    """Return the scores of a video over its time, from its shard."""
    _, found = await _of_shard(gathering, key, video_id, f"/curve?{request.url.query}")
    return CurveOut.model_validate({**found, "video_id": video_id})


@router.get("/{video_id}/activity", responses=problems(404))
async def get_activity(
    gathering: GatheringDep, key: CallerKey, video_id: VideoId, request: Request
) -> ActivityOut:
    """Return how much a video changes over its time, from its shard."""
    _, found = await _of_shard(gathering, key, video_id, f"/activity?{request.url.query}")
    return ActivityOut.model_validate({**found, "video_id": video_id})


@router.get(
    "/{video_id}/frames/{seconds}.jpg",
    response_class=StreamingResponse,
    responses={**_FILE, **problems(404, 409)},
)
async def get_frame(
    gathering: GatheringDep, key: CallerKey, video_id: VideoId, seconds: float, request: Request
) -> Response:
    """Return the frame shown at an instant as JPEG, from its shard."""
    return await _relayed(gathering, key, video_id, f"/frames/{seconds!r}.jpg", request)


@router.get(
    "/{video_id}/{name}",
    response_class=StreamingResponse,
    responses={**_FILE, **problems(404, 409, 416)},
)
async def get_file(
    gathering: GatheringDep, key: CallerKey, video_id: VideoId, name: str, request: Request
) -> Response:
    """Return `sprite.jpg` or `clip.mp4` of a video, from its shard; ranges are passed on."""
    if name not in ("sprite.jpg", "clip.mp4"):
        raise NotFoundError(f"no file {name[:80]!r} of a video; allowed: sprite.jpg, clip.mp4")
    return await _relayed(gathering, key, video_id, f"/{name}", request)


def _json(shards: Shards, shard: Shard, path: str, key: str | None) -> Any:
    [found] = shards.each([shard], lambda each: _asked(shards, each, path, key)).values()
    return found


def _asked(shards: Shards, shard: Shard, path: str, key: str | None) -> Any:
    return shards.calls(shard, key).json("GET", path)


async def _of_shard(
    gathering: Gathering, key: str | None, video_id: int, path: str
) -> tuple[Shard, Any]:
    shard, own = gathering.shards.of_video(video_id)

    def ask() -> Any:
        return _json(gathering.shards, shard, f"/videos/{own}{path}", key)

    return shard, await gathering.relays.take(ask)


def _numbered(video: VideoOut, shard: Shard) -> VideoOut:
    return video.model_copy(update={"id": shard.id_of(video.id)})


async def _relayed(
    gathering: Gathering, key: str | None, video_id: int, path: str, request: Request
) -> Response:
    """Pass a file on as it comes, with what the caller asks of it."""
    shard, own = gathering.shards.of_video(video_id)
    headers = {name: request.headers[name] for name in _ASKED if name in request.headers}
    headers.setdefault("accept", "*/*")
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    target = f"/videos/{own}{quote(path)}"
    if request.url.query:
        target += f"?{request.url.query}"

    def ask() -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        parts = urlsplit(shard.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else None
        made = kind or http.client.HTTPConnection
        connection = made(parts.netloc, timeout=gathering.shards.seconds)
        try:
            connection.request("GET", parts.path + target, headers=headers)
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise LostShardsError({shard: f"does not answer ({type(error).__name__})"}) from error

    connection, answer = await gathering.relays.take(ask)
    told = {name: answer.headers[name] for name in (*_TOLD, *_TOLD_TOO) if name in answer.headers}
    if answer.status >= 400:
        return await gathering.relays.take(lambda: _problem(connection, answer, told, request))
    return StreamingResponse(_blocks(connection, answer), answer.status, told)


def _blocks(
    connection: http.client.HTTPConnection, answer: http.client.HTTPResponse
) -> Iterator[bytes]:
    with closing(connection):
        while block := answer.read(_BLOCK):
            yield block


def _problem(
    connection: http.client.HTTPConnection,
    answer: http.client.HTTPResponse,
    told: Mapping[str, str],
    request: Request,
) -> Response:
    """Tell what a shard says is wrong, of the path that was asked for here."""
    with closing(connection):
        body = answer.read(1 << 20)
    kept = {name: value for name, value in told.items() if name == "retry-after"}
    try:
        found = {**json.loads(body), "instance": request.url.path}
    except ValueError:
        found = {"status": answer.status, "detail": f"the shard answered {answer.status}"}
    return Response(json.dumps(found), answer.status, kept, media_type=MEDIA)
