"""A key gets what it may and no more, for itself alone, and is told when to come back."""

import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from api.allowances import Allowance, Bucket
from api.app import create_app
from api.config import ServerSettings
from api.errors import HttpProblem
from api.keys import ApiKey, read_keys, read_limits
from engine.session import Engine
from tests.api.browser import get, post
from tests.api.conftest import URL, Made, serving
from tests.waiting import LONG

KEYS = "lab=read:look-1,cameras=write:change-1,read:other-1"


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@given(st.lists(st.floats(0, 400), min_size=1, max_size=60), st.integers(1, 20))
def test_no_more_than_is_allowed_in_any_minute(pauses: list[float], most: int) -> None:
    """And who waits as long as is said gets in, at that moment and not a second before."""
    now, let_in = 0.0, list[float]()
    allowance = Allowance(ApiKey("k", "read", "s"), {"requests": most}, lambda: now)
    for pause in pauses:
        now += pause / 10
        try:
            allowance.begin()
        except HttpProblem as refused:
            wait = int((refused.headers or {})["retry-after"])
            now += wait - 1.001
            if wait > 1:
                with pytest.raises(HttpProblem):
                    allowance.begin()
            now += 1.002
            allowance.begin()
        let_in.append(now)
    for first in let_in:  # the bucket, and what came back in a minute
        assert sum(first <= at < first + 60 for at in let_in) <= 2 * most


def test_what_is_larger_than_all_of_it_waits_until_nothing_is_used() -> None:
    bucket = Bucket(10, 100)
    assert bucket.wait(25, 0.0) == 0
    bucket.left -= 25
    assert bucket.wait(1, 0.0) == pytest.approx(160)
    assert bucket.wait(25, 160.0) == pytest.approx(90)


@pytest.fixture
def limited(own_engine: Engine, made: Made, tmp_path: Path) -> Iterator[TestClient]:
    size = (made.clips / "one.mp4").stat().st_size
    limits = f"requests=50,lab.requests=3,cameras.ingest_bytes={2 * size + 900}"
    settings = ServerSettings(
        api_keys=KEYS, key_limits=f"{limits},cameras.ingest_hours=0.02", video_roots=str(tmp_path)
    )
    with TestClient(create_app(own_engine, settings), base_url=URL) as server:
        yield server


def test_requests_are_counted_by_key(limited: TestClient) -> None:
    lab, other = bearer("look-1"), bearer("other-1")
    assert [limited.get("/videos", headers=lab).status_code for _ in range(4)] == [200] * 3 + [429]
    refused = limited.get("/v1/videos", headers=lab)
    assert refused.headers["content-type"] == "application/problem+json"
    assert 15 <= int(refused.headers["retry-after"]) <= 20
    told = refused.json()
    assert told["detail"] == "requests of this key are used up; allowed: 3 a minute"
    assert told["kind"] == "LimitError"
    assert "look-1" not in refused.text
    assert limited.get("/livez", headers=lab).status_code == 200
    assert limited.get("/", headers=lab).status_code == 200
    assert limited.get("/videos", headers=bearer("wrong")).status_code == 401
    figures = limited.get("/metrics", headers=other).text
    assert re.search(r'dejavu_key_refused_total{key="lab",limit="requests"} [2-9]', figures)
    assert 'dejavu_key_requests_total{key="read-3"}' in figures
    assert "look-1" not in figures


def test_what_is_brought_in_is_counted_by_its_size_and_length(
    limited: TestClient, made: Made, tmp_path: Path
) -> None:
    key, clip = bearer("change-1"), made.clips / "one.mp4"
    shutil.copy(clip, tmp_path / "one.mp4")
    body = {"path": str(tmp_path / "one.mp4"), "strategy": "dense"}
    assert limited.post("/videos", json=body, headers=key).status_code == 202
    kept = set(limited.app.state.engine.layout.uploads.glob("*"))
    files = {"file": ("a.mp4", clip.read_bytes())}
    assert limited.post("/videos", files=files, headers=key).status_code == 202
    refused = limited.post("/videos", files=files, headers=key)
    assert refused.status_code == 429
    assert re.match(r"ingest_bytes: .* allowed: [\d,]+ a day", refused.json()["detail"])
    assert 3600 < int(refused.headers["retry-after"]) < 86_400
    now = set(limited.app.state.engine.layout.uploads.glob("*"))
    assert len(now - kept) <= 1  # nothing of what was refused
    other = limited.post("/videos", json=body, headers=bearer("other-1"))
    assert other.status_code == 403


def test_hours_are_those_that_videos_last(own_engine: Engine, made: Made, tmp_path: Path) -> None:
    """Clips of four and five seconds: both are more than eight."""
    settings = ServerSettings(
        api_keys=KEYS, key_limits=f"ingest_hours={8 / 3600:.6f}", video_roots=str(made.clips)
    )
    with TestClient(create_app(own_engine, settings), base_url=URL) as server:
        for name, status in (("one.mp4", 202), ("two.mp4", 429)):
            body = {"path": str(made.clips / name)}
            answer = server.post("/videos", json=body, headers=bearer("change-1"))
            assert answer.status_code == status, answer.text


def test_so_many_at_a_time(own_engine: Engine) -> None:
    settings = ServerSettings(api_keys=KEYS, key_limits="lab.concurrent=1")
    job = own_engine.job_records.add_job("deepen", {"deepen": {}})
    with serving(create_app(own_engine, settings), settings) as port:
        url, begun = f"http://127.0.0.1:{port}", threading.Event()
        own_engine.job_records.update_job(job, status="running")

        def follow() -> None:
            with httpx.stream(
                "GET", f"{url}/jobs/{job}/events", headers=bearer("look-1"), timeout=LONG
            ) as told:
                for _ in told.iter_lines():
                    begun.set()

        thread = threading.Thread(target=follow)
        thread.start()
        assert begun.wait(LONG)
        assert get(f"{url}/videos", headers=bearer("look-1")).status_code == 429
        assert get(f"{url}/videos", headers=bearer("other-1")).status_code == 200
        own_engine.job_records.update_job(job, status="failed", error="ended here")
        post(f"{url}/videos/deepen", json={}, headers=bearer("change-1"))  # a change is told
        thread.join(LONG)
        assert get(f"{url}/videos", headers=bearer("look-1")).status_code == 200


@pytest.mark.parametrize(
    ("keys", "limits", "said"),
    [
        (KEYS, "requests=0", "more than 0"), (KEYS, "request=5", "expected"),
        (KEYS, "lap.requests=5", "nearest: lab"), ("", "requests=5", "without api_keys"),
        ("a=read:look-1,a=read:look-2", "", "two keys are called a"),
        (KEYS, "requests=x", "expected"),
    ],
)  # fmt: skip
def test_limits_that_cannot_be_meant(keys: str, limits: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ServerSettings(api_keys=keys, key_limits=limits)


def test_they_stand_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dejavu.toml").write_text(
        '[server]\napi_keys = ["lab=read:look-1"]\nkey_limits = ["requests=60", "lab.requests=7"]\n'
    )
    monkeypatch.chdir(tmp_path)
    settings = ServerSettings()
    assert read_limits(settings.key_limits, settings.keys) == {
        "lab": {"requests": 7, "model_calls": 1000}
    }
    assert read_limits("model_calls=5", read_keys("read:look,write:change")) == {
        "read-1": {"model_calls": 5}, "write-2": {"model_calls": 5},
    }  # fmt: skip
    assert read_limits("", read_keys("write:change")) == {"write-1": {}}
