"""`/jobs`: work in the background, as it stands and as it goes."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from api.alerts import KIND, fault_of
from api.deps import CanRead, CanWrite, EngineDep, JobsDep, RoleDep, expect_room
from api.describe import problems
from api.errors import without_paths
from engine.storage.records import Job
from schemas.job import JobOut, JobVideo, Status
from schemas.video import Accepted

router = APIRouter(prefix="/jobs", tags=["jobs"], dependencies=[CanRead])
ENDED = ("ready", "failed", "cancelled")
_EVENTS = {
    "text/event-stream": {
        "schema": {"type": "string"},
        "example": 'event: running\ndata: {"id": "4f1c9a", "status": "running", …}\n\n',
    }
}
_LOOK_SECONDS = 0.1
_BEAT_SECONDS = 10.0  # silence after which a comment is sent, so that proxies keep the line open


@router.get("", responses=problems(404))
def list_jobs(
    engine: EngineDep,
    role: RoleDep,
    status: Status | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    after: Annotated[str | None, Query(description="a job's id: those older than it")] = None,
) -> list[JobOut]:
    """List jobs, newest first; the id of the last one, as `after`, gives the next page."""
    jobs = engine.jobs(status, after=after, limit=limit)
    return [_out(job, role) for job in jobs]


@router.get("/{job_id}", responses=problems(404))
def show_job(engine: EngineDep, role: RoleDep, job_id: str) -> JobOut:
    """Show one job."""
    return _out(engine.job(job_id), role)


@router.delete("/{job_id}", responses=problems(404), dependencies=[CanWrite])
def cancel_job(jobs: JobsDep, role: RoleDep, job_id: str) -> JobOut:
    """Cancel a job; a running one ends when the stretch in hand is committed."""
    return _out(jobs.cancel(job_id), role)


@router.post(
    "/{job_id}/retry",
    status_code=202,
    dependencies=[CanWrite, expect_room],
    responses=problems(404, 409, 429),
)
def retry_job(response: Response, jobs: JobsDep, job_id: str) -> Accepted:
    """Queue once more what a job that failed or was cancelled was to do, as a new job."""
    job = jobs.retry(job_id)
    response.headers["Location"] = f"/jobs/{job}"
    return Accepted(id=job, job_url=f"/jobs/{job}", status="queued")


@router.get(
    "/{job_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {"description": "The job, at each change", "content": _EVENTS},
        **problems(404),
    },
)
async def watch_job(
    request: Request, engine: EngineDep, jobs: JobsDep, role: RoleDep, job_id: str
) -> StreamingResponse:
    """Send the job as a server-sent event whenever it changes, until it ends."""
    await asyncio.to_thread(engine.job, job_id)

    async def events() -> AsyncIterator[str]:
        version, sent, spoke = -1, "", monotonic()
        while not await request.is_disconnected():
            if version != jobs.version:
                version = jobs.version
                job = await asyncio.to_thread(engine.job, job_id)
                text = json.dumps(_out(job, role).model_dump(mode="json"))
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


def _out(job: Job, role: str | None) -> JobOut:
    progress = dict(job.progress or {})
    asked = [{"name": Path(path).name, "id": None} for path in job.request.get("paths", [])]
    videos = progress.pop("videos", asked)
    if "fault" in progress:  # of an alert
        progress["fault"] = fault_of(job, role)
    return JobOut(
        id=job.job_id,
        kind=job.kind,
        status=job.status,
        videos=[JobVideo(**video) for video in videos],
        progress=progress,
        error=fault_of(job, role) if job.kind == KIND else without_paths(job.error, role),
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )
