"""The HTTP API of a server that holds nothing itself and asks its shards."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.app import guard
from api.config import ServerSettings
from api.deps import CanRead, RoleDep
from api.describe import describe
from api.errors import HttpProblem, handle_errors
from api.gathering import asking, relay
from api.gathering.deps import Gathering, GatheringDep
from api.turns import Turns
from engine import __version__
from engine.sharding.shards import LostShardsError, Shard, Shards, read_shards
from schemas.health import AliveOut, MeOut

router = APIRouter(tags=["health"])
_ELSEWHERE = "is answered by a shard itself; here: /query, /sql, /videos, /shards"


@router.get("/livez")
async def livez() -> AliveOut:
    """Say that the process answers; no shard is waited for."""
    return AliveOut()


@router.get("/readyz")
async def readyz(request: Request, gathering: GatheringDep) -> dict[str, str]:
    """Say whether all shards are ready; which is not is told."""
    if request.app.state.draining:
        raise HttpProblem(503, "stopping: no new work is taken")
    shards = gathering.shards

    def ask(shard: Shard) -> object:
        return shards.calls(shard, None).json("GET", "/readyz")

    try:
        await asyncio.to_thread(shards.each, shards.all, ask)
    except LostShardsError as error:
        raise HttpProblem(503, str(error), retry_after="2") from error
    return {"status": "ready"}


@router.get("/me")
def me(role: RoleDep) -> MeOut:
    """Say what the key that was sent allows."""
    return MeOut(role=role)


@router.get("/metrics", dependencies=[CanRead], response_class=Response)
def metrics() -> Response:
    """Return the figures in Prometheus' text form."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def create_gathering_app(settings: ServerSettings) -> FastAPI:
    """Build the application for the shards that the settings name."""
    gathering = Gathering(
        Shards(read_shards(settings.shards), settings.shard_seconds),
        Turns(
            *("queries", settings.max_queries),
            wait_seconds=settings.query_wait_seconds,
            seconds=settings.query_seconds,
        ),
        Turns("relays", 16, wait_seconds=20.0, seconds=300.0),
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        app.state.draining = True
        gathering.close()

    app = FastAPI(
        title="dejavu-engine over shards",
        version=__version__,
        description="Ask the videos of several servers at once: moments for a text, SQL.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.gathering = gathering
    app.state.draining = False
    handle_errors(app)
    for each in (asking.router, relay.router, router):
        app.include_router(each)
    describe(app)
    app.add_api_route(
        "/{path:path}", _elsewhere, methods=["GET", "POST", "DELETE"], include_in_schema=False
    )
    guard(app, settings)
    return app


def _elsewhere(request: Request) -> None:
    raise HttpProblem(404, f"{request.method} {request.url.path} {_ELSEWHERE}")
