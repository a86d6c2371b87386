"""Work in the background: seen, followed, cancelled, taken up again."""

import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from api.app import PILE, create_app, upkeep
from api.config import ServerSettings
from api.jobs import Jobs, Tell
from engine.errors import VideoError
from engine.session import Engine
from engine.storage.records import Job, JobStatus
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.video.container import VideoInfo
from engine.vision.backbone.space import Space
from tests.api.conftest import URL, Made
from tests.waiting import LONG, until

SPACE = Space("tiny", "local/tiny", "local", "0" * 64, "{}", 4)


def status(store: Store, job_id: str) -> str:
    """How a job stands."""
    return store.catalog.job(job_id).status


def test_events_tell_of_an_ingest(own_engine: Engine, made: Made, tmp_path: Path) -> None:
    clip = tmp_path / "followed.mp4"
    clip.write_bytes((made.clips / "one.mp4").read_bytes() + b"\0" * 24)
    settings = ServerSettings(video_roots=str(tmp_path))
    with TestClient(create_app(own_engine, settings), base_url=URL) as client:
        job = client.post("/videos", json={"path": str(clip), "strategy": "dense"}).json()
        answer = client.get(f"{job['job_url']}/events")
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [event for event in answer.text.split("\n\n") if event]
        listed = client.get("/jobs").json()
    said = [event for event in events if not event.startswith(":")]
    named = [event.split("\n")[0].removeprefix("event: ") for event in said]
    assert named[-1] == "ready"
    assert set(named) <= {"queued", "running", "ready"}
    last = json.loads(events[-1].split("\n")[1].removeprefix("data: "))
    assert last["id"] == job["id"] == listed[0]["id"]
    (video,) = last["videos"]
    assert video["name"] == "followed.mp4"
    assert own_engine.store.catalog.video(video["id"]).name == "followed.mp4"
    assert last["created_at"].endswith("Z")
    assert last["progress"]["frames"] > 0
    assert 0 < last["progress"]["fraction"] <= 1


def test_events_and_jobs_that_are_none(client: TestClient) -> None:
    for path in ("/jobs/none", "/jobs/none/events"):
        assert client.get(path).status_code == 404
    assert client.delete("/jobs/none").status_code == 404


def test_too_many_jobs_wait(own_engine: Engine, made: Made) -> None:
    catalog = own_engine.store.catalog
    settings = ServerSettings(max_queued_jobs=1, video_roots=str(made.clips))
    client = TestClient(create_app(own_engine, settings), base_url=URL)  # its queue does not run
    job = client.post("/videos", json={"path": str(made.clips / "one.mp4")}).json()
    answer = client.post("/videos", json={"path": str(made.clips / "one.mp4")})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert client.delete(job["job_url"]).json()["status"] == "cancelled"
    assert catalog.job(job["id"]).finished_at is not None


def test_a_server_takes_up_what_the_last_one_left(made: Made, data: Path, tmp_path: Path) -> None:
    clip = shutil.copy(made.clips / "two.mp4", tmp_path / "left.mp4")
    with Store.open(data) as store:
        request = {"paths": [str(clip)], "options": {"strategy": "dense"}}
        queued = store.catalog.add_job("ingest", request)
        running = store.catalog.add_job("ingest", request)
        store.catalog.update_job(running, status="running")
    with (
        Engine.open(data, device="cpu") as engine,
        TestClient(create_app(engine, ServerSettings()), base_url=URL) as client,
    ):
        for job in (queued, running):
            client.get(f"/jobs/{job}/events")
            found = client.get(f"/jobs/{job}").json()
            assert (found["status"], found["error"]) == ("ready", None)


class Scripted:
    """Work that waits until it is told to go on, or to stop."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.fail: Exception | None = None

    def __call__(self, job: Job, report: Tell, stop: threading.Event) -> str | None:
        """Do the work."""
        self.begun.set()
        report({"fraction": 0.5})
        while not (self.go.is_set() or stop.is_set()):
            time.sleep(0.005)
        if self.fail:
            raise self.fail
        return job.request.get("failure")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store.open(tmp_path / "jobs")


def test_cancelling(store: Store) -> None:
    work = Scripted()
    with store:
        jobs = Jobs(store.catalog, work)
        jobs.start()
        first, second = jobs.submit("ingest", {}), jobs.submit("ingest", {})
        assert work.begun.wait(LONG)
        assert jobs.num_queued() == 1
        assert jobs.cancel(second).status == "cancelled"
        jobs.cancel(first)
        until(lambda: status(store, first) == "cancelled")
        assert store.catalog.job(first).progress == {"fraction": 0.5}
        assert jobs.cancel(first).status == "cancelled"
        assert jobs.drain(LONG)
        assert status(store, second) == "cancelled"


@pytest.mark.parametrize(
    ("error", "said"),
    [(VideoError("no pictures in it"), "no pictures in it"), (OSError("x"), "OSError")],
)
def test_a_job_that_fails_does_not_end_the_queue(store: Store, error: Exception, said: str) -> None:
    work = Scripted()
    work.go.set()
    with store:
        jobs = Jobs(store.catalog, work)
        work.fail = error
        failed = jobs.submit("ingest", {})
        jobs.start()
        until(lambda: status(store, failed) == "failed")
        assert said in (store.catalog.job(failed).error or "")
        work.fail = None
        refused = jobs.submit("ingest", {"failure": "two.mp4: empty"})
        until(lambda: status(store, refused) == "failed")
        good = jobs.submit("ingest", {})
        until(lambda: status(store, good) == "ready")
        assert jobs.drain(LONG)


def test_a_job_that_comes_while_it_is_looked_is_not_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a look at what is queued and the wait for more there is time for one."""
    work = Scripted()
    work.go.set()
    jobs = Jobs(store.catalog, work)
    look, late = store.catalog.jobs, list[str]()

    def looked(*given: Any, **named: Any) -> list[Job]:
        found = look(*given, **named)
        if jobs._idle_at and not late:  # it has tidied up: the next thing is to wait
            late.append(jobs.submit("ingest", {}))
        return found

    monkeypatch.setattr(store.catalog, "jobs", looked)
    monkeypatch.setattr("api.jobs.IDLE_SECONDS", 10 * LONG)
    with store:
        jobs.start()
        until(lambda: late and status(store, late[0]) == "ready")
        assert jobs.drain(LONG)


def test_draining_leaves_the_job_for_the_next_server(store: Store) -> None:
    work = Scripted()
    with store:
        jobs = Jobs(store.catalog, work)
        jobs.start()
        job = jobs.submit("ingest", {})
        assert work.begun.wait(LONG)
        assert jobs.drain(LONG)
        assert status(store, job) == "queued"
        again = Jobs(store.catalog, work)
        work.go.set()
        again.start()
        until(lambda: status(store, job) == "ready")
        assert again.drain(LONG)


def test_a_queue_that_never_ran_drains(store: Store) -> None:
    with store:
        assert Jobs(store.catalog, Scripted()).drain(0.1)


def test_a_job_names_its_video_before_it_is_stored(own_engine: Engine, made: Made) -> None:
    settings = ServerSettings(video_roots=str(made.clips))
    client = TestClient(create_app(own_engine, settings), base_url=URL)  # its queue does not run
    job = client.post("/videos", json={"path": str(made.clips / "one.mp4")}).json()
    found = client.get(job["job_url"]).json()
    assert found["videos"] == [{"name": "one.mp4", "id": None}]
    assert client.delete(job["job_url"]).json()["videos"] == found["videos"]


def test_jobs_come_in_pages(store: Store) -> None:
    with store:
        jobs = [store.catalog.add_job("ingest", {}) for _ in range(7)]
        store.catalog.update_job(jobs[3], status="failed")
        listed, last = list[str](), None
        while page := store.catalog.jobs(after=last, limit=3):
            assert len(page) <= 3
            listed += [job.job_id for job in page]
            last = listed[-1]
        assert listed == [job.job_id for job in store.catalog.jobs()]
        assert sorted(listed) == sorted(jobs)
        assert [job.job_id for job in store.catalog.jobs("failed", limit=9)] == [jobs[3]]
        assert store.catalog.count_jobs("queued") == 6


def test_a_job_is_tried_again(own_engine: Engine, made: Made, tmp_path: Path) -> None:
    clip = tmp_path / "late.mp4"
    clip.write_bytes(b"")
    settings = ServerSettings(video_roots=str(tmp_path))
    with TestClient(create_app(own_engine, settings), base_url=URL) as client:
        first = client.post("/videos", json={"path": str(clip), "strategy": "dense"}).json()
        client.get(f"{first['job_url']}/events")
        assert client.get(first["job_url"]).json()["status"] == "failed"
        clip.write_bytes((made.clips / "one.mp4").read_bytes() + b"\0" * 40)
        answer = client.post(f"{first['job_url']}/retry")
        assert answer.status_code == 202
        again = answer.json()
        assert again["id"] != first["id"]
        assert answer.headers["location"] == again["job_url"]
        client.get(f"{again['job_url']}/events")
        assert client.get(again["job_url"]).json()["status"] == "ready"
        done = client.post(f"{again['job_url']}/retry")
        assert done.status_code == 409
        assert "is ready; allowed: failed, cancelled" in done.json()["detail"]
        assert client.post("/jobs/none/retry").status_code == 404
        listed = client.get("/jobs?status=ready&limit=1").json()
        assert [job["id"] for job in listed] == [again["id"]]


def test_files_that_pile_up_are_folded_beside_the_requests(tmp_path: Path) -> None:
    with Engine.open(tmp_path / "data", device="cpu") as engine:
        store = engine.store
        store.catalog.add_space(SPACE)
        info = VideoInfo("/a.mp4", "h264", 64, 48, 0, 30.0, 99.0, 0.0, 300, 1234, "yuv420p", False)
        video_id = store.catalog.add_video(info, "hash", "a.mp4")
        stream = (video_id, SPACE.key, Sampling(2), "dense")
        for stretch in range(PILE + 2):
            frame = np.arange(2 * stretch, 2 * stretch + 2, dtype=np.int32)
            flat, unit = np.zeros(2, np.float32), np.eye(2, 4, dtype=np.float32)
            rows = Rows(frame, frame / 2, ["I"] * 2, unit, flat, flat, np.ones(2, bool))
            store.write_part(*stream, stretch, float(stretch), stretch + 1.0, rows)
        assert engine.savable() > PILE
        assert engine.compact(lambda: True) == 0
        with TestClient(create_app(engine, ServerSettings()), base_url=URL) as client:
            until(lambda: any(job["finished_at"] for job in client.get("/jobs").json()))
            (job,) = client.get("/jobs").json()
        assert (job["status"], job["error"]) == ("ready", None)
        assert (job["kind"], job["videos"]) == ("compact", [])
        assert job["progress"]["saved"] > PILE
        assert engine.savable() == 0
        assert len(store.rows(SPACE.key, columns=["row_id"])) == 2 * (PILE + 2)


class Piled:
    """An engine whose files cannot be folded."""

    left = 0

    def publish(self) -> None:
        """Publish nothing."""

    def savable(self) -> int:
        """How many could be saved."""
        return self.left

    def drop_forgotten_uploads(self, _: float) -> list[str]:
        """Find none."""
        return []


def test_the_newest_jobs_of_each_kind_stay(store: Store) -> None:
    ends: list[JobStatus] = ["ready", "failed", "cancelled"]
    for kind in ("ingest", "alert"):
        for number in range(104):
            job = store.catalog.add_job(kind, {"number": number})
            if number:  # the first waits, however old it is
                store.catalog.update_job(job, status=ends[number % 3])
    tidy = upkeep(Piled(), ServerSettings(keep_jobs=100))  # type: ignore[arg-type]
    tidy(Jobs(store.catalog, lambda *_: None))
    for kind in ("ingest", "alert"):
        numbers = [job.request["number"] for job in store.catalog.jobs(kind=kind)]
        assert numbers == [*range(103, 3, -1), 0]
    store.close()


def test_what_was_folded_in_vain_is_not_asked_for_each_minute(store: Store) -> None:
    piled, asked = Piled(), list[str]()
    jobs = Jobs(store.catalog, lambda *_: None)
    tidy = upkeep(piled, ServerSettings())  # type: ignore[arg-type]
    for count in (PILE, PILE, PILE + 1, 2 * PILE, 0, PILE - 1, PILE):
        piled.left = count
        tidy(jobs)
        asked.append(str(len(store.catalog.jobs())))
    store.close()
    assert asked == ["1", "1", "1", "2", "2", "2", "3"]
