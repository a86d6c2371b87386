"""Liveness, readiness and metrics of the server."""

import asyncio

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

from api.allocated import allocated_bytes
from api.deps import CanRead, EngineDep, JobsDep, RoleDep
from api.errors import HttpProblem
from schemas.health import AliveOut, MeOut, ReadyOut

router = APIRouter(tags=["health"])
_FIGURES = {"schema": {"type": "string"}, "example": 'dejavu_videos{status="ready"} 2.0\n'}
VIDEOS = Gauge("dejavu_videos", "Videos in the store", ["status"])
QUEUED = Gauge("dejavu_jobs_queued", "Jobs that wait")
ALLOCATED = Gauge("dejavu_allocated_bytes", "Bytes that malloc has given out, where glibc tells")
VECTORS = Gauge("dejavu_index_vectors", "Vectors in each index", ["space"])


@router.get("/livez")
async def livez() -> AliveOut:
    """Say that the process answers; no thread is waited for."""
    return AliveOut()


@router.get("/readyz")
async def readyz(request: Request, engine: EngineDep) -> ReadyOut:
    """Say whether the model and the index are loaded and work is taken."""
    if request.app.state.draining:
        raise HttpProblem(503, "stopping: no new work is taken")
    await asyncio.to_thread(engine.indexes)
    return ReadyOut(model=engine.model.space.key, device=str(engine.model.device))


@router.get("/me")
def me(role: RoleDep) -> MeOut:
    """Say what the key that was sent allows."""
    return MeOut(role=role)


@router.get(
    "/metrics",
    dependencies=[CanRead],
    response_class=Response,
    responses={200: {"description": "Figures", "content": {"text/plain": _FIGURES}}},
)
def metrics(engine: EngineDep, jobs: JobsDep) -> Response:
    """Return the figures in Prometheus' text form."""
    VIDEOS.clear()
    for status, count in engine.count_by_status().items():
        VIDEOS.labels(status).set(count)
    if (allocated := allocated_bytes()) is not None:
        ALLOCATED.set(allocated)
    QUEUED.set(jobs.num_queued())
    for index in engine.indexes():
        VECTORS.labels(index.space_key).set(index.num_rows)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
