"""Whether it lives, whether it is ready, what it counts."""

import asyncio

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

from api.deps import CanRead, EngineDep, JobsDep, RoleDep
from api.errors import Problem
from schemas.health import AliveOut, MeOut, ReadyOut

router = APIRouter(tags=["health"])
VIDEOS = Gauge("dejavu_videos", "Videos in the store", ["status"])
QUEUED = Gauge("dejavu_jobs_queued", "Jobs that wait")
VECTORS = Gauge("dejavu_index_vectors", "Vectors in each index", ["space"])


@router.get("/livez")
def livez() -> AliveOut:
    """Say that the process answers."""
    return AliveOut()


@router.get("/readyz")
async def readyz(request: Request, engine: EngineDep) -> ReadyOut:
    """Say whether the model and the index are loaded and work is taken."""
    if request.app.state.draining:
        raise Problem(503, "stopping: no new work is taken")
    await asyncio.to_thread(engine.store.index_status)
    return ReadyOut(model=engine.model.space.key, device=str(engine.model.device))


@router.get("/me")
def me(role: RoleDep) -> MeOut:
    """Say what the key that was sent allows."""
    return MeOut(role=role)


@router.get("/metrics", dependencies=[CanRead])
def metrics(engine: EngineDep, jobs: JobsDep) -> Response:
    """Return the figures in Prometheus' text form."""
    VIDEOS.clear()
    for video in engine.store.catalog.videos():
        VIDEOS.labels(video.status).inc()
    QUEUED.set(jobs.num_queued())
    for status in engine.store.index_status():
        VECTORS.labels(status.space_key).set(status.num_rows)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
