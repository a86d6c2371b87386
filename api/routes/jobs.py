"""`/jobs`: work in the background, as it stands and as it goes."""

import asyncio
import json
from collections.abc import AsyncIterator
from time import monotonic

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from api.deps import CanRead, CanWrite, EngineDep, JobsDep
from engine.storage.records import Job
from schemas.job import JobOut

router = APIRouter(prefix="/jobs", tags=["jobs"], dependencies=[CanRead])
ENDED = ("ready", "failed", "cancelled")
_LOOK_SECONDS = 0.1
_BEAT_SECONDS = 10.0  # silence after which a comment is sent, so that proxies keep the line open


@router.get("")
def list_jobs(engine: EngineDep) -> list[JobOut]:
    """List jobs, newest first."""
    return [_out(job) for job in engine.store.catalog.jobs()[:200]]


@router.get("/{job_id}")
def show_job(engine: EngineDep, job_id: str) -> JobOut:
    """Show one job."""
    return _out(engine.store.catalog.job(job_id))


@router.delete("/{job_id}", dependencies=[CanWrite])
def cancel_job(jobs: JobsDep, job_id: str) -> JobOut:
    """Cancel a job; a running one ends when the stretch in hand is committed."""
    return _out(jobs.cancel(job_id))


@router.get("/{job_id}/events", response_class=StreamingResponse)
async def watch_job(
    request: Request, engine: EngineDep, jobs: JobsDep, job_id: str
) -> StreamingResponse:
    """Send the job as a server-sent event whenever it changes, until it ends."""
    engine.store.catalog.job(job_id)

    async def events() -> AsyncIterator[str]:
        version, sent, spoke = -1, "", monotonic()
        while not await request.is_disconnected():
            if version != jobs.version:
                version = jobs.version
                job = await asyncio.to_thread(engine.store.catalog.job, job_id)
                text = json.dumps(_out(job).model_dump(mode="json"))
                if text != sent:
                    yield f"event: {job.status}\ndata: {text}\n\n"
                    sent, spoke = text, monotonic()
                if job.status in ENDED:
                    return
            if monotonic() - spoke > _BEAT_SECONDS:
                yield ": still here\n\n"
                spoke = monotonic()
            await asyncio.sleep(_LOOK_SECONDS)

    return StreamingResponse(
        events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


def _out(job: Job) -> JobOut:
    return JobOut(
        id=job.job_id,
        kind=job.kind,
        status=job.status,
        progress=job.progress or {},
        error=job.error,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )
