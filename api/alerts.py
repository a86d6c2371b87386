"""Alerts: what queries that stand find in videos that come in, kept as jobs and told to others."""

import json
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from api.happenings import Happenings
from api.webhook import DeliveryError, deliver
from engine.errors import EngineError, NotFoundError
from engine.query import Moment
from engine.session import Engine
from engine.storage.records import Job
from engine.storage.standing import StandingQuery

log = logging.getLogger(__name__)
KIND = "alert"
MORE = "alert that goes on"  # in another video of the camera; nobody is told of it again
CAMERA = "camera"  # the column of users that says which
_REMEMBERED = 1000  # alerts of each kind, by a server that starts
_MOMENTS = 10  # of a video in one alert
_AT_ONCE = 1000  # moments that are looked for; then again in the videos that have none of them
WAITS = (1.0, 5.0, 30.0, 120.0, 600.0)  # seconds before another attempt


class Alerts:
    """Looks into videos for what stands, and tells of it in a thread of its own.

    An alert is a job of the kind `alert`: queued until it was told or there is no more attempt,
    so it outlives the server; where nobody is to be told it is ready at once. What goes on in the
    next video of the same camera is not told again, and kept as a job of another kind.
    """

    def __init__(
        self, engine: Engine, allowed: Collection[str], waits: Sequence[float] = WAITS
    ) -> None:
        self._engine, self._allowed, self._waits = engine, allowed, waits
        self._records = engine.job_records
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._next: dict[str, float] = {}  # when an alert is tried again
        self._happened: dict[tuple[str, ...], Happenings] | None = None  # by query, text, camera
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    def start(self) -> None:
        """Tell of what is queued, and of what comes."""
        self._thread.start()

    def end(self) -> None:
        """Stop; what was not told stays queued."""
        with self._changed:
            self._ended.set()
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(15)

    def look(self, video_ids: Sequence[int], since: datetime) -> list[str]:
        """Look into videos for each query that stands; return the ids of the alerts.

        What an alert since then says already is not said again: who asks may have been killed.
        """
        alerts = list[str]()
        kept = [job for kind in (KIND, MORE) for job in self._records.jobs(kind=kind, since=since)]
        said = {_about(job) for job in kept}
        for query in self._engine.standing() if video_ids else ():
            left = {each for each in video_ids if (query.name, query.text, each) not in said}
            try:
                while left and (found := self._find(query, left)):
                    for own in (found[video_id] for video_id in sorted(found)):
                        alerts += self._keep(query, own)
                    left -= set(found)
            except EngineError as error:  # one query that cannot run stops no other
                log.warning("the standing query %r: %s", query.name, error)
        with self._changed:
            self._changed.notify_all()
        return alerts

    def _find(self, query: StandingQuery, video_ids: Collection[int]) -> dict[int, list[Moment]]:
        """Return the best moments of videos; more may have some, beyond these or alike."""
        found = self._engine.query(
            query.text,
            _AT_ONCE,
            videos=[*video_ids],
            where=query.where,
            min_score=query.min_score,
        )
        moments = dict[int, list[Moment]]()
        for each in found.moments:
            if query.min_score is not None or each.clear:
                moments.setdefault(each.video_id, []).append(each)
        return moments

    def _keep(self, query: StandingQuery, found: Sequence[Moment]) -> list[str]:
        """Keep what was found in a video; return the alert's id, unless it goes on with another."""
        video = self._engine.video(found[0].video_id)
        camera, gap = video.columns.get(CAMERA), timedelta(seconds=query.gap_seconds)
        begun = list(found)
        if camera is not None and video.recorded_at is not None:
            known = self._known()[query.name, query.text, str(camera)]
            begun = known.begun(found, video.recorded_at, gap)
        moments = (begun or found)[:_MOMENTS]
        alert = {
            "query": query.name,
            "text": query.text,
            "video": {"id": video.video_id, "name": video.name},
            "camera": None if camera is None else str(camera),
            "recorded_at": None if video.recorded_at is None else f"{video.recorded_at:%FT%T.%f}Z",
            "moments": [
                {name: value for name, value in asdict(each).items() if name not in _OF_VIDEO}
                for each in moments
            ],
        }
        job = self._records.add_job(KIND if begun else MORE, {"alert": alert})
        if query.url is None or not begun:
            self._records.update_job(job, status="ready")
        return [job] if begun else []

    def _known(self) -> dict[tuple[str, ...], Happenings]:
        """Return what happened lately, as the server before this one kept it."""
        if self._happened is not None:
            return self._happened
        self._happened = defaultdict(Happenings)
        gaps = {query.name: query.gap_seconds for query in self._engine.standing()}
        jobs = [
            job for kind in (KIND, MORE) for job in self._records.jobs(kind=kind, limit=_REMEMBERED)
        ]
        for job in sorted(jobs, key=lambda each: each.created_at):
            alert = job.request["alert"]
            camera, at = alert.get("camera"), alert["recorded_at"]
            if camera is not None and at is not None and alert["query"] in gaps:
                self._happened[alert["query"], alert["text"], camera].begun(
                    [_moment(alert["video"], each) for each in alert["moments"]],
                    datetime.fromisoformat(at).replace(tzinfo=None),
                    timedelta(seconds=gaps[alert["query"]]),
                )
        return self._happened

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended.is_set() or bool(self._due()), 1.0)
                if self._ended.is_set():
                    return
            for job in self._due():
                if self._ended.is_set():
                    return
                try:
                    self._tell(job)
                except NotFoundError:
                    log.debug("the alert %s is gone", job.job_id)
                except Exception:  # one bad alert must not end the others
                    log.exception("the alert %s was not told", job.job_id)
                    self._next[job.job_id] = time.monotonic() + self._waits[-1]

    def _due(self) -> list[Job]:
        queued = self._records.jobs("queued", kind=KIND)
        now = time.monotonic()
        return [job for job in reversed(queued) if self._next.get(job.job_id, 0.0) <= now]

    def _tell(self, job: Job) -> None:
        """Try once; the last attempt that fails ends it."""
        attempts = int((job.progress or {}).get("attempts", 0)) + 1
        body = {"id": job.job_id, **job.request["alert"]}
        try:
            query = self._engine.standing_query(str(body["query"]))
            if query.url is not None:
                deliver(
                    query.url,
                    json.dumps(body).encode(),
                    secret=query.secret,
                    told=job.job_id,
                    allowed=self._allowed,
                )
            fault = None
        except (DeliveryError, EngineError) as error:
            fault = str(error)
        told: dict[str, Any] = {"attempts": attempts} | ({"fault": fault} if fault else {})
        self._next.pop(job.job_id, None)
        if self._records.job(job.job_id).status != "queued":
            return  # cancelled meanwhile
        if fault is None:
            self._records.update_job(job.job_id, status="ready", progress=told)
        elif attempts > len(self._waits):
            self._records.update_job(job.job_id, status="failed", error=fault, progress=told)
        else:
            self._next[job.job_id] = time.monotonic() + self._waits[attempts - 1]
            self._records.update_job(job.job_id, progress=told)


def fault_of(job: Job, role: str | None) -> str | None:
    """Say why an alert was not taken; who only reads is not told where it was sent."""
    fault = job.error or (job.progress or {}).get("fault")
    return fault if fault is None or role == "write" else "it was not taken"


def _about(job: Job) -> tuple[str, str, int]:
    """What an alert is about: a query, and a video."""
    alert = job.request["alert"]
    return alert["query"], alert["text"], alert["video"]["id"]


def _moment(video: Mapping[str, Any], kept: Mapping[str, Any]) -> Moment:
    return Moment(video["id"], video["name"], **kept)


_OF_VIDEO = ("video_id", "name")
