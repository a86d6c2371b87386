"""Standing queries: an alert for each match, told once, signed, tried again, to who may be told."""

import hashlib
import hmac
import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import api.alerts
import api.app
from api.alerts import Alerts
from api.app import create_app, ingest_work
from api.config import ServerSettings
from api.webhook import DeliveryError, check_url, deliver
from engine.errors import StoreError, UsageError
from engine.objects.public import is_public
from engine.session import Engine
from engine.storage.standing import StandingQuery
from tests.api.conftest import URL, Made
from tests.api.test_videos import ended
from tests.waiting import LONG, until

SECRET = "a secret of ours"


class Receiver(BaseHTTPRequestHandler):
    """Takes in what is posted; answers the statuses that it was given first."""

    taken: list[tuple[dict[str, str], bytes]]
    statuses: list[int]

    def do_POST(self) -> None:
        """Take it."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.taken.append((dict(self.headers), body))
        status = self.statuses.pop(0) if self.statuses else 204
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def receiving(*statuses: int) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A program that is told; its address, and what it was told."""
    kind = type("Own", (Receiver,), {"taken": [], "statuses": list(statuses)})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}", kind.taken
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts that follow each other soon."""
    monkeypatch.setattr(api.app, "Alerts", lambda *given: Alerts(*given, waits=(0.05, 0.05)))


@pytest.fixture
def bring(made: Made, tmp_path: Path) -> Callable[[TestClient], dict[str, Any]]:
    """Ingest a clip that the store does not have yet."""

    def ingest(server: TestClient) -> dict[str, Any]:
        clip = tmp_path / f"{time.monotonic_ns()}.mp4"
        shutil.copy(made.clips / "one.mp4", clip)
        clip.write_bytes(clip.read_bytes() + bytes(str(clip), "utf-8"))
        body = {"path": str(clip), "strategy": "dense"}
        return ended(server, server.post("/videos", json=body).json())

    return ingest


@contextmanager
def server_of(engine: Engine, roots: Path, hosts: str = "") -> Iterator[TestClient]:
    settings = ServerSettings(video_roots=str(roots), webhook_hosts=hosts)
    with TestClient(create_app(engine, settings), base_url=URL) as server:
        yield server


def stand(server: TestClient, **given: Any) -> None:
    for query in server.get("/standing").json():
        server.delete(f"/standing/{query['name']}")
    body = {"name": "shapes", "text": "a shape", "min_score": -1, **given}
    answer = server.post("/standing", json=body)
    assert answer.status_code == 201, answer.text


def alerts_of(server: TestClient, status: str) -> list[dict[str, Any]]:
    """The alerts that stand so."""
    return [each for each in server.get("/alerts").json() if each["status"] == status]


@pytest.mark.usefixtures("quick")
def test_a_match_is_told_once_and_signed(
    own_engine: Engine, tmp_path: Path, bring: Callable[[TestClient], dict[str, Any]]
) -> None:
    with receiving(500) as (host, taken), server_of(own_engine, tmp_path, host) as server:
        stand(server, url=f"http://{host}/hook?a=b", secret=SECRET)
        begun = time.time()
        job = bring(server)
        (alert,) = until(
            lambda: [a for a in server.get("/alerts").json() if a["status"] == "ready"]
        )
        assert len(taken) == 2  # the first attempt failed
        headers, body = taken[-1]
        assert headers["X-Dejavu-Delivery"] == alert["id"] == taken[0][0]["X-Dejavu-Delivery"]
        at, _, mac = headers["X-Dejavu-Signature"].partition(",v1=")
        expected = hmac.new(SECRET.encode(), at[2:].encode() + b"." + body, hashlib.sha256)
        assert mac == expected.hexdigest()
        assert int(begun) <= int(at[2:]) <= time.time()
        told = json.loads(body)
        assert told["query"] == "shapes"
        assert told["video"]["id"] == job["videos"][0]["id"]
        found = server.post(
            "/query",
            json={"text": "a shape", "videos": [told["video"]["id"]], "min_score": -1, "top_k": 10},
        ).json()["moments"]
        assert [m["peak_seconds"] for m in told["moments"]] == [m["peak_seconds"] for m in found]
        assert alert["attempts"] == 2
        assert SECRET not in server.get("/standing").text + server.get("/alerts").text
        again = server.post("/videos", json={"path": str(next(tmp_path.glob("*.mp4")))}).json()
        known = server.get("/alerts").json()
        assert ended(server, again)["status"] == "ready"
        assert server.get("/alerts").json() == known  # what is known is not new
        assert len(taken) == 2


@pytest.mark.usefixtures("quick")
def test_what_is_not_taken_fails_and_can_be_tried_again(
    own_engine: Engine, tmp_path: Path, bring: Callable[[TestClient], dict[str, Any]]
) -> None:
    with receiving(500, 302, 404) as (host, taken), server_of(own_engine, tmp_path, host) as server:
        stand(server, url=f"http://{host}/")
        bring(server)
        alert = until(lambda: [a for a in server.get("/alerts").json() if a["status"] == "failed"])[
            0
        ]
        assert len(taken) == 3
        assert alert["error"] == f"{host} answers 404"
        server.post(f"/jobs/{alert['id']}/retry")
        until(lambda: len(taken) == 4)


def test_what_was_not_told_is_told_by_the_next_server(
    own_engine: Engine,
    tmp_path: Path,
    bring: Callable[[TestClient], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # the next server first tries the old address: what it waits then may not grow with the attempts
    monkeypatch.setattr(api.app, "Alerts", lambda *given: Alerts(*given, waits=(0.5,) * 200))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with server_of(own_engine, tmp_path, f"127.0.0.1:{port}") as server:
        stand(server, url=f"http://127.0.0.1:{port}/")
        video = bring(server)["videos"][0]
        first = until(
            lambda: [
                a for a in server.get("/alerts").json() if a["attempts"] and a["video"] == video
            ]
        )[0]
        assert first["status"] == "queued"
        assert "refused" in first["error"].lower()
    with receiving() as (host, taken), server_of(own_engine, tmp_path, host) as server:
        stand(server, url=f"http://{host}/")
        until(lambda: taken)
        assert json.loads(taken[0][1])["id"] == first["id"]


def test_conditions_and_scores_choose(
    own_engine: Engine, tmp_path: Path, bring: Callable[[TestClient], dict[str, Any]]
) -> None:
    with server_of(own_engine, tmp_path) as server:
        before = len(server.get("/alerts").json())
        stand(server, where="height > 9999")
        bring(server)
        stand(server, min_score=1.0)
        bring(server)
        assert len(server.get("/alerts").json()) == before
        stand(server)
        bring(server)
        alerts = until(lambda: server.get("/alerts").json()[: -before or None])
        assert [each["status"] for each in alerts] == ["ready"]  # nobody is to be told
        assert len(server.get("/alerts?limit=1").json()) == 1


class Killed(BaseException):
    """What ends a server without a chance to do anything else."""


def test_what_a_killed_server_had_embedded_is_looked_into_once(
    own_engine: Engine, tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a job that goes on, what was embedded before is known by then, and alike is not the same.

    Killed before it looked, and again after the first of two alerts was kept.
    """
    for number in range(2):
        clip = (made.clips / "one.mp4").read_bytes() + b"killed" * (number + 1)
        (tmp_path / f"killed-{number}.mp4").write_bytes(clip)
    monkeypatch.setattr(api.alerts, "_AT_ONCE", 1)
    own_engine.put_standing(StandingQuery("killed", "a shape", min_score=-1))
    records, alerts = own_engine.job_records, Alerts(own_engine, ())
    work = ingest_work(own_engine, ServerSettings(video_roots=str(tmp_path)), alerts)
    job = records.job(records.add_job("ingest", {"paths": [str(tmp_path)], "options": {}}))
    keep, look = alerts._keep, alerts.look

    def kept(*given: Any) -> str:
        keep(*given)
        raise Killed

    def looked(*_: Any) -> list[str]:
        raise Killed

    for name, killed in (("look", looked), ("_keep", kept)):
        monkeypatch.setattr(alerts, name, killed)
        with pytest.raises(Killed):
            work(job, lambda _: None, threading.Event())
        monkeypatch.setattr(alerts, "look", look)
        monkeypatch.setattr(alerts, "_keep", keep)
    for _ in range(2):
        assert work(job, lambda _: None, threading.Event()) is None
    said = [each.request["alert"] for each in records.jobs(kind="alert")]
    names = [each["video"]["name"] for each in said if each["query"] == "killed"]
    assert sorted(names) == ["killed-0.mp4", "killed-1.mp4"]
    own_engine.drop_standing("killed")


def test_what_failed_half_way_is_looked_into_as_far_as_it_went(
    own_engine: Engine, tmp_path: Path, bring: Callable[[TestClient], dict[str, Any]]
) -> None:
    ingest = own_engine.ingest

    def full(*given: Any, **named: Any) -> None:
        ingest(*given, **named)
        raise StoreError("the disk is full")

    with server_of(own_engine, tmp_path) as server, pytest.MonkeyPatch.context() as patch:
        stand(server)
        patch.setattr(own_engine, "ingest", full)
        assert bring(server)["status"] == "failed"
        newest = server.get("/alerts?limit=1").json()[0]
        assert newest["video"]["name"] == next(tmp_path.glob("*.mp4")).name


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"url": "ftp://a/b"}, 400), ({"url": "http://me:pw@a/"}, 400), ({"url": "http://"}, 400),
        ({"url": "http://a/\r\nX: y"}, 400), ({"url": "http://a:99999/"}, 400),
        ({"name": "../x"}, 422), ({"secret": "short"}, 422), ({"where": "no_such = 1"}, 400),
    ],
)  # fmt: skip
def test_what_cannot_stand_is_refused(
    client: TestClient, given: dict[str, Any], status: int
) -> None:
    body = {"name": "n", "text": "a star", **given}
    answer = client.post("/standing", json=body)
    assert answer.status_code == status, answer.text
    assert client.delete("/standing/n").status_code == 404


def test_a_key_that_reads_sees_no_url(engine: Engine) -> None:
    keys = {role: {"Authorization": f"Bearer {role}-1"} for role in ("read", "write")}
    settings = ServerSettings(api_keys="read:read-1,write:write-1")
    with TestClient(create_app(engine, settings), base_url=URL) as server:
        body = {"name": "n", "text": "a star", "url": "https://example.com/T0KEN"}
        assert server.post("/standing", json=body, headers=keys["read"]).status_code == 403
        assert server.post("/standing", json=body, headers=keys["write"]).status_code == 201
        assert "T0KEN" not in server.get("/standing", headers=keys["read"]).text
        assert "T0KEN" in server.get("/standing", headers=keys["write"]).text
        assert server.delete("/standing/n", headers=keys["read"]).status_code == 403
        assert server.delete("/standing/n", headers=keys["write"]).status_code == 204


def test_a_key_that_reads_sees_no_host_either(own_engine: Engine) -> None:
    records, alert = own_engine.job_records, {"query": "n", "text": "t", "recorded_at": None}
    alert |= {"video": {"id": 1, "name": "one.mp4"}, "moments": []}
    fault = "hooks.internal:8443 answers 500"
    job = records.add_job("alert", {"alert": alert})
    records.update_job(job, status="failed", error=fault, progress={"attempts": 6, "fault": fault})
    settings = ServerSettings(api_keys="read:read-1,write:write-1")
    with TestClient(create_app(own_engine, settings), base_url=URL) as server:
        for path in ("/alerts", "/jobs", f"/jobs/{job}", f"/jobs/{job}/events"):
            for role, told in (("read", False), ("write", True)):
                answer = server.get(path, headers={"Authorization": f"Bearer {role}-1"})
                assert answer.status_code == 200
                assert ("hooks.internal" in answer.text) is told, (path, role)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.9.9", "169.254.169.254", "0.0.0.0",
        "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fd00::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1",
        "::127.0.0.1", "::ffff:0:7f00:1", "fec0::1", "64:ff9b:1::7f00:1", "5f00::1", "3fff::1",
        "168.63.129.16", "::ffff:168.63.129.16",
    ],
)  # fmt: skip
def test_what_is_not_public(address: str) -> None:
    assert not is_public(address)


def test_what_is_public() -> None:
    assert is_public("93.184.216.34")
    assert is_public("2606:2800:220:1:248:1893:25c8:1946")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::1]", "0"]
)
def test_this_machine_is_reached_under_no_name(host: str) -> None:
    with receiving() as (listens, taken):
        port = listens.partition(":")[2]
        with pytest.raises(DeliveryError):
            deliver(f"http://{host}:{port}/", b"{}", secret=None, told="1")
        assert taken == []


def test_the_address_that_was_looked_at_is_spoken_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is public when looked up first is not looked up a second time."""
    asked = []

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(DeliveryError, match=r"192\.0\.2\.1, which is not public"):
        deliver("http://rebinding.example/", b"{}", secret=None, told="1")
    assert asked == ["rebinding.example"]


@pytest.mark.parametrize(("scheme", "first"), [("http", b"H"), ("https", b"\x16\x03\x03\x40\x00")])
def test_who_answers_a_byte_at_a_time_is_left(
    monkeypatch: pytest.MonkeyPatch, scheme: str, first: bytes
) -> None:
    """In plain and within the handshake of TLS, which takes the descriptor of the socket away."""
    monkeypatch.setattr("api.webhook._SECONDS", 0.5)
    left = []

    def trickle(listener: socket.socket) -> None:
        peer, _ = listener.accept()
        with peer:
            try:
                peer.sendall(first)
                for _ in range(10 * round(LONG)):
                    peer.sendall(b"H")
                    time.sleep(0.1)
            except OSError as error:
                left.append(error)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=trickle, args=[listener])
        thread.start()
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(DeliveryError):
            deliver(f"{scheme}://{host}/", b"{}", secret=None, told="1", allowed=[host])
        thread.join(LONG)
    assert left


def test_an_address_that_is_none() -> None:
    with pytest.raises(UsageError, match="allowed: http"):
        check_url("javascript:alert(1)")
