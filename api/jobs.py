"""Ingests in the background: one worker, jobs kept in the catalog, progress for who listens."""

import logging
import threading
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from api.errors import HttpProblem
from engine.errors import EngineError, NotFoundError
from engine.storage.jobs import JobRecords
from engine.storage.records import Job

log = logging.getLogger(__name__)
Tell = Callable[[Mapping[str, Any]], None]
KINDS = ("ingest", "deepen", "compact", "migrate")  # that are done here; alerts are told elsewhere
Work = Callable[[Job, Tell, threading.Event], str | None]
IDLE_SECONDS = 60.0  # between two looks at what there is to tidy up while nothing is queued


class Jobs:
    """The queue of one server.

    `work(job, report, stop)` does one job: it reports progress, gives up soon after `stop` is
    set, and returns why it failed or None. Jobs that a server left behind are taken up again by the
    next one; an ingest resumes where its last stretch was committed. Now and then, while nothing
    is queued, `idle` is called, which may queue something.
    """

    def __init__(
        self, records: JobRecords, work: Work, idle: "Callable[[Jobs], None]" = lambda _: None
    ) -> None:
        self._records = records
        self._work = work
        self._idle = idle
        self._idle_at = 0.0
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._cancelled: set[str] = set()
        self._running: tuple[str, threading.Event] | None = None
        self._version = 0
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def start(self) -> None:
        """Take up what was left, then what comes."""
        self._thread.start()

    def submit(self, kind: str, request: Mapping[str, Any]) -> str:
        """Queue a job and return its id."""
        job_id = self._records.add_job(kind, request)
        self._tell()
        return job_id

    def num_queued(self) -> int:
        """How many wait."""
        return self._records.count_jobs("queued", KINDS)

    def cancel(self, job_id: str) -> Job:
        """Cancel a queued job now, a running one when its stretch is done."""
        with self._changed:
            job = self._records.job(job_id)
            if self._running and self._running[0] == job_id:
                self._cancelled.add(job_id)
                self._running[1].set()
            elif job.status == "queued":
                self._records.update_job(job_id, status="cancelled")
        self._tell()
        return self._records.job(job_id)

    def retry(self, job_id: str) -> str:
        """Queue what a job that failed or was cancelled was to do; return the new job's id."""
        job = self._records.job(job_id)
        if job.status not in ("failed", "cancelled"):
            raise HttpProblem(409, f"job {job_id} is {job.status}; allowed: failed, cancelled")
        return self.submit(job.kind, job.request)

    def forget(self, keep: int) -> None:
        """Remove what has ended, alerts too, but for the newest `keep` of each kind."""
        if dropped := self._records.drop_ended(keep):
            log.info("%s jobs that had ended were removed", dropped)

    @property
    def version(self) -> int:
        """A number that is another one after every change."""
        return self._version

    def drain(self, seconds: float) -> bool:
        """Finish the stretch in hand and stop; return whether it did in time."""
        self._stop.set()
        with self._changed:
            if self._running:
                self._running[1].set()
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            seen = self._version  # before it is looked: what comes meanwhile is not waited for
            queued = [job for job in self._records.jobs("queued") if job.kind in KINDS]
            if queued:
                self._do(min(queued, key=lambda job: (job.created_at, job.job_id)))
            elif monotonic() >= self._idle_at:
                self._tidy()
                self._idle_at = monotonic() + IDLE_SECONDS
            else:
                self._wait(seen, self._idle_at - monotonic())

    def _wait(self, seen: int, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._version != seen or self._stop.is_set(), seconds)

    def _tidy(self) -> None:
        try:
            self._idle(self)
        except (EngineError, OSError) as error:
            log.warning("tidying up failed: %s", error)

    def _do(self, job: Job) -> None:
        stop = threading.Event()
        with self._changed:
            if self._stop.is_set() or self._records.job(job.job_id).status != "queued":
                return
            self._running = (job.job_id, stop)
            self._records.update_job(job.job_id, status="running")
        self._tell()
        try:
            failure = self._work(job, lambda p: self._report(job.job_id, p), stop)
        except EngineError as error:
            failure = str(error)
        except Exception as error:  # one bad job must not end the queue
            log.exception("job %s failed", job.job_id)
            failure = f"unforeseen error: {type(error).__name__}"
        with self._changed:
            self._running = None
        self._finish(job.job_id, failure, stopped=stop.is_set())
        self._tell()

    def _finish(self, job_id: str, failure: str | None, *, stopped: bool) -> None:
        try:
            if job_id in self._cancelled:
                self._records.update_job(job_id, status="cancelled")
            elif stopped:
                self._records.update_job(job_id, status="queued")
            elif failure is not None:
                self._records.update_job(job_id, status="failed", error=failure)
            else:
                self._records.update_job(job_id, status="ready")
        except NotFoundError:
            log.debug("job %s is gone", job_id)
        self._cancelled.discard(job_id)

    def _report(self, job_id: str, progress: Mapping[str, Any]) -> None:
        self._records.update_job(job_id, progress=progress)
        self._tell()

    def _tell(self) -> None:
        with self._changed:
            self._version += 1
            self._changed.notify_all()
