"""The jobs of a server: what waits, what runs, what came of it."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, get_args

from engine.errors import NotFoundError, UsageError, check_limit, unknown
from engine.storage.database import Database, insert, now, update
from engine.storage.records import Job, JobStatus

_JOB_COLUMNS = ", ".join(f.name for f in fields(Job))


class JobRecords:
    """Typed access to the jobs; every method may be called from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_job(self, kind: str, request: Mapping[str, Any]) -> str:
        """Queue a job and return its id."""
        job_id = uuid.uuid4().hex
        values = {"job_id": job_id, "kind": kind, "status": "queued", "created_at": now()}
        with self._database.transaction(shown=False) as cursor:
            insert(cursor, "jobs", {**values, "request": json.dumps(request)})
        return job_id

    def update_job(
        self,
        job_id: str,
        *,
        status: JobStatus | None = None,
        progress: Mapping[str, Any] | None = None,
        error: str | None = None,
    ) -> None:
        """Change what is given; the times follow the status."""
        values: dict[str, Any] = {}
        if status is not None:
            check("status", status, get_args(JobStatus))
            values["status"] = status
            if status != "queued":
                values["started_at" if status == "running" else "finished_at"] = now()
        if progress is not None:
            values["progress"] = json.dumps(progress)
        if error is not None:
            values["error"] = error
        with self._database.writing:
            self.job(job_id)
            if values:
                with self._database.transaction(shown=False) as cursor:
                    update(cursor, "jobs", values, "job_id = ?", [job_id])

    def job(self, job_id: str) -> Job:
        """Return a job by its id."""
        found = self._read_jobs("WHERE job_id = ?", [job_id])
        if not found:
            raise NotFoundError(f"no job {job_id!r}")
        return found[0]

    def jobs(
        self,
        status: JobStatus | None = None,
        *,
        after: str | None = None,
        limit: int | None = None,
        kind: str | None = None,
        since: datetime | None = None,
    ) -> list[Job]:
        """Return the jobs, newest first; `limit` gives a page of so many, `after` one of them."""
        conditions, parameters = ["true"], list[Any]()
        if status is not None:
            conditions.append("status = ?")
            parameters.append(status)
        if kind is not None:
            conditions.append("kind = ?")
            parameters.append(kind)
        if since is not None:
            conditions.append("created_at >= ?")
            parameters.append(since)
        if after is not None:
            last = self.job(after)
            conditions.append("(created_at < ? OR (created_at = ? AND job_id > ?))")
            parameters += [last.created_at, last.created_at, last.job_id]
        check_limit(limit)
        page = f" LIMIT {limit}" if limit is not None else ""
        return self._read_jobs(f"WHERE {' AND '.join(conditions)}", parameters, page)

    def count_jobs(self, status: JobStatus, kinds: Sequence[str] | None = None) -> int:
        """Return how many jobs stand so, of some kinds where they are named."""
        found = self._database.one(
            "SELECT count(*) FROM jobs WHERE status = $1"
            " AND ($2::VARCHAR[] IS NULL OR kind IN (SELECT unnest($2::VARCHAR[])))",
            [status, None if kinds is None else list(kinds)],
        )
        return int(found[0]) if found else 0

    def drop_ended(self, keep: int) -> int:
        """Remove jobs that have ended but for the newest `keep` of each kind; return how many."""
        more = (
            "SELECT job_id FROM jobs WHERE status IN ('ready', 'failed', 'cancelled') QUALIFY"
            " row_number() OVER (PARTITION BY kind ORDER BY created_at DESC, job_id) > ?"
        )
        with self._database.writing:
            if not (found := self._database.all(more, [keep])):
                return 0
            with self._database.transaction(shown=False) as cursor:
                cursor.execute(f"DELETE FROM jobs WHERE job_id IN ({more})", [keep])
        return len(found)

    def _read_jobs(self, where: str, parameters: Sequence[Any], page: str = "") -> list[Job]:
        rows = self._database.all(
            f"SELECT {_JOB_COLUMNS} FROM jobs {where} ORDER BY created_at DESC, job_id{page}",
            parameters,
        )
        jobs = []
        for job_id, kind, state, request, progress, *rest in rows:
            jobs.append(Job(job_id, kind, state, parsed(request) or {}, parsed(progress), *rest))
        return jobs


def parsed(text: str | None) -> dict[str, Any] | None:
    """Return what a column of JSON holds."""
    return None if text is None else json.loads(text)


def check(kind: str, given: str, allowed: Sequence[str]) -> None:
    """Raise UsageError unless a word is one of those allowed."""
    if given not in allowed:
        raise UsageError(unknown(kind, given, allowed))
