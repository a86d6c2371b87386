"""The HTTP API around one engine."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI

from api.alerts import Alerts
from api.allowances import Allowances
from api.chosen import Meant, files_of
from api.config import ServerSettings
from api.deps import heavy_work
from api.describe import describe
from api.errors import handle_errors
from api.examples import Examples
from api.guards import Bodies, Keys, OwnPagesOnly
from api.jobs import Jobs, Tell, Work
from api.middleware import Head, Problems, RequestId, Version
from api.routes import (
    about,
    ask,
    columns,
    curve,
    footage,
    health,
    jobs,
    page,
    query,
    shard,
    standing,
    transcripts,
    videos,
)
from engine import __version__
from engine.deepen import DeepenReport
from engine.ingest import Event
from engine.ingesting.report import VideoReport
from engine.session import Engine
from engine.sharding.open_inquiries import OpenInquiries
from engine.storage.records import Job

log = logging.getLogger(__name__)
DRAIN_SECONDS = 50.0
PILE = 64  # files that folding saves, from which on a server does it by itself
_EVENT_SECONDS = 0.2
_THREADS = 4 * (os.cpu_count() or 1)  # for what is soon done; more would only wait for each other


def create_app(engine: Engine, settings: ServerSettings) -> FastAPI:
    """Build the application; the engine stays the caller's to close."""
    alerts = Alerts(engine, settings.hooks)
    work = ingest_work(engine, settings, alerts)
    queue = Jobs(engine.job_records, work, upkeep(engine, settings))
    heavy = heavy_work(settings, engine.layout.clips)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = _THREADS
        queue.start()
        alerts.start()
        yield
        app.state.draining = True
        heavy.close()
        if not await asyncio.to_thread(queue.drain, DRAIN_SECONDS):
            log.warning("an ingest did not stop in time; it resumes at its last committed stretch")
        await asyncio.to_thread(alerts.end)

    app = FastAPI(
        title="dejavu-engine",
        version=__version__,
        description="Ask video questions: moments for a text, answers with evidence, SQL.",
        lifespan=lifespan,
        docs_url=None,  # ours needs nothing from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # else a form would be sent twice
    )
    app.state.engine = engine
    app.state.settings = settings
    app.state.jobs = queue
    app.state.heavy = heavy
    app.state.examples = Examples(engine)
    app.state.inquiries = OpenInquiries()
    app.state.draining = False
    handle_errors(app)
    for module in (
        query,
        ask,
        videos,
        transcripts,
        footage,
        columns,
        curve,
        jobs,
        standing,
        shard,
        health,
        about,
        page,
    ):
        app.include_router(module.router)
    describe(app)
    guard(app, settings)
    return app


def guard(app: FastAPI, settings: ServerSettings) -> None:
    """Let keys, sizes and pages be looked at before any route."""
    app.add_middleware(Problems)
    app.add_middleware(
        Bodies, max_bytes=settings.max_body_bytes, max_upload_bytes=settings.max_upload_bytes
    )
    app.add_middleware(Keys, settings=settings, allowances=Allowances(settings))
    if not settings.api_keys:
        app.add_middleware(OwnPagesOnly)
    app.add_middleware(RequestId)
    app.add_middleware(Head)
    app.add_middleware(Version)


def ingest_work(engine: Engine, settings: ServerSettings, alerts: Alerts) -> Work:
    """Return what a job of the kinds `ingest`, `deepen`, `compact` and `migrate` does."""

    def work(job: Job, report: Tell, stop: threading.Event) -> str | None:
        request = job.request
        if "compact" in request:
            report({"saved": engine.compact(stop.is_set)})
            return None
        if "deepen" in request:
            engine.deepen(progress=DeepenListener(report, stop), **request["deepen"])
            return None
        if "migrate" in request:
            moved = engine.migrate(
                **request["migrate"], apart=True, progress=Listener(report, stop)
            )
            return "; ".join(f"{name}: {reason}" for name, reason in moved.failed) or None
        files, _ = files_of(Meant.of(request), settings)
        options = request.get("options", {})
        listener = Listener(report, stop)
        try:
            found = engine.ingest(files, progress=listener, apart=True, **options)
        finally:  # also of what a server that was killed had embedded of this job
            alerts.look(engine.finished_since(job.created_at), job.created_at)
        stored = [{"id": each.video_id, "name": each.name} for each in found.videos]
        report({**listener.last, "videos": stored})
        for video in {video.video_id or video.name for video in found.videos}:
            engine.drop_copies(video)
        return "; ".join(_failed(each, engine) for each in found.quarantined) or None

    return work


def upkeep(engine: Engine, settings: ServerSettings) -> Callable[[Jobs], None]:
    """Return what is looked after while no job waits: old jobs, uploads, copies, piles of files."""
    known = 0  # that could have been saved when it was last asked for: who cancels it has a rest

    def tidy(jobs: Jobs) -> None:
        nonlocal known
        for name in engine.drop_forgotten_uploads(settings.keep_upload_seconds):
            log.info("the upload %s belonged to nothing and was deleted", name)
        jobs.forget(settings.keep_jobs)
        engine.publish()
        savable = engine.savable()
        known = min(known, savable)
        if savable >= known + PILE:
            known = savable
            jobs.submit("compact", {"compact": True})

    return tidy


def _failed(video: VideoReport, engine: Engine) -> str:
    """Say why a video could not be used, and where an upload of it is."""
    reason = str(video.reason)
    said = reason if video.name in reason else f"{video.name}: {reason}"
    kept = Path(video.path).parent == engine.layout.uploads
    return said + ("; what was sent is kept until the video is removed" if kept else "")


class DeepenListener:
    """Pass on to its job how far coarse videos are embedded."""

    def __init__(self, report: Tell, stop: threading.Event) -> None:
        self._report = report
        self._stop = stop

    def deepened(self, report: DeepenReport) -> None:
        """Take in what was done so far."""
        done = report.gops + report.left_gops
        self._report({**report.as_dict(), "fraction": report.gops / done if done else 1.0})

    def stopped(self) -> bool:
        """Tell whether the job was cancelled or the server stops."""
        return self._stop.is_set()


class Listener:
    """Pass an ingest's events on to its job, a few a second."""

    def __init__(self, report: Tell, stop: threading.Event) -> None:
        self._report = report
        self._stop = stop
        self._next = 0.0
        self.last: Mapping[str, Any] = {}

    def report(self, event: Event) -> None:
        """Take in an event."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _EVENT_SECONDS
            share = event.frames / event.expected if event.expected else 0.0
            self.last = {**event.as_dict(), "fraction": min(share, 1.0)}
            self._report(self.last)

    def stopped(self) -> bool:
        """Tell whether the job was cancelled or the server stops."""
        return self._stop.is_set()
