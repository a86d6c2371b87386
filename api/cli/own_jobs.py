"""A job that a command does by itself: on record, so that it is listed and taken up again."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from engine.errors import EngineError
from engine.storage.jobs import JobRecords
from engine.storage.records import JobStatus

Ended = Callable[[JobStatus | None], None]


@contextmanager
def job_of(records: JobRecords, kind: str, request: Mapping[str, Any]) -> Iterator[Ended]:
    """Put work on record while it is done; what is given to `ended` is how it ended.

    One that was broken off with the same request goes on under its id. A command that is killed
    leaves it waiting: the same command, or the next server of the folder, goes on with it.
    """
    waiting = [job for job in records.jobs(kind=kind) if job.status in ("queued", "running")]
    same = next((job.job_id for job in waiting if job.request == request), None)
    job_id = same or records.add_job(kind, request)
    records.update_job(job_id, status="running")
    how: list[JobStatus] = []
    try:
        yield lambda status: how.append(status or "ready")
    except EngineError as error:
        records.update_job(job_id, status="failed", error=str(error))
        raise
    except KeyboardInterrupt:
        records.update_job(job_id, status="cancelled")
        raise
    records.update_job(job_id, status=how[-1] if how else "ready")
