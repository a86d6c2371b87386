"""`/standing` and `/alerts`: what is looked for in all that comes in, and what was found."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.alerts import KIND, fault_of
from api.deps import CanRead, CanWrite, EngineDep, RoleDep
from api.describe import problems
from api.webhook import check_url
from engine.storage.records import Job
from engine.storage.standing import StandingQuery
from schemas.standing import AlertOut, StandingIn, StandingOut

router = APIRouter(tags=["alerts"], dependencies=[CanRead])


@router.get("/standing")
def list_standing(engine: EngineDep, role: RoleDep) -> list[StandingOut]:
    """List the queries that stand, by name; secrets are not told, nor urls to a key that reads."""
    return [_out(query, role) for query in engine.standing()]


@router.post("/standing", status_code=201, dependencies=[CanWrite])
def put_standing(engine: EngineDep, role: RoleDep, body: StandingIn) -> StandingOut:
    """Have a text looked for in each video that comes in, in the place of one of its name."""
    if body.url is not None:
        check_url(body.url)
    query = StandingQuery(**body.model_dump())
    if query.where is not None:
        engine.videos(where=query.where, limit=1)  # what it cannot mean is said now
    engine.put_standing(query)
    return _out(query, role)


@router.delete(
    "/standing/{name}", status_code=204, dependencies=[CanWrite], responses=problems(404)
)
def drop_standing(engine: EngineDep, name: str) -> None:
    """Look for it no longer; alerts of it that were not told yet fail."""
    engine.drop_standing(name)


@router.get("/alerts", responses=problems(404))
def list_alerts(
    engine: EngineDep,
    role: RoleDep,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    after: Annotated[str | None, Query(description="an alert's id: those older than it")] = None,
) -> list[AlertOut]:
    """List what standing queries found, newest first, and whether it was told."""
    jobs = engine.job_records.jobs(after=after, limit=limit, kind=KIND)
    return [_alert(job, role) for job in jobs]


def _out(query: StandingQuery, role: str | None) -> StandingOut:
    return StandingOut(
        name=query.name,
        text=query.text,
        min_score=query.min_score,
        where=query.where,
        url=query.url if role == "write" else None,  # many hold a token
        signed=query.secret is not None,
        gap_seconds=query.gap_seconds,
    )


def _alert(job: Job, role: str | None) -> AlertOut:
    progress = job.progress or {}
    return AlertOut(
        id=job.job_id,
        status=job.status,
        attempts=int(progress.get("attempts", 0)),
        error=fault_of(job, role),
        created_at=job.created_at,
        **job.request["alert"],
    )
