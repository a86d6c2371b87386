"""Whether it lives, whether it is ready, what it counts."""

import asyncio

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

from api.deps import CanRead, EngineDep, JobsDep
from api.errors import Problem

router = APIRouter(tags=["health"])
VIDEOS = Gauge("dejavu_videos", "Videos in the store", ["status"])
QUEUED = Gauge("dejavu_jobs_queued", "Jobs that wait")
VECTORS = Gauge("dejavu_index_vectors", "Vectors in each index", ["space"])


@router.get("/livez")
def livez() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "alive"}


@router.get("/readyz")
async def readyz(request: Request, engine: EngineDep) -> dict[str, str]:
    """Say whether the model and the index are loaded and work is taken."""
    if request.app.state.draining:
        raise Problem(503, "stopping: no new work is taken")
    await asyncio.to_thread(engine.store.index_status)
    return {"status": "ready", "model": engine.model.space.key, "device": str(engine.model.device)}


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
