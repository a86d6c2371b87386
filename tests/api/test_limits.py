"""Keys, roles, bodies, origins, health and the page: what holds for every request."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from api.app import create_app
from api.config import ServerSettings
from engine.session import Engine
from tests.api.conftest import URL

KEYS = "read:look-1,write:change-1"


@pytest.fixture(scope="module")
def locked(engine: Engine) -> Iterator[TestClient]:
    """A server that asks for keys."""
    settings = ServerSettings(api_keys=KEYS, max_body_bytes=2000, max_upload_bytes=5000)
    with TestClient(create_app(engine, settings), base_url="http://videos.example") as opened:
        yield opened


def bearer(secret: str) -> dict[str, str]:
    """The header that shows a key."""
    return {"Authorization": f"Bearer {secret}"}


@pytest.mark.parametrize("path", ["/videos", "/jobs", "/metrics", "/videos/1/frames/0.jpg"])
def test_without_a_key_nothing_is_told(locked: TestClient, path: str) -> None:
    for headers in ({}, bearer("wrong"), {"Authorization": "Basic eA=="}):
        answer = locked.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["request_id"]
    assert locked.get(path, headers=bearer("look-1")).status_code == 200


def test_roles(locked: TestClient) -> None:
    text = {"text": "a star"}
    assert locked.post("/query", json=text).status_code == 401
    assert locked.post("/query", json=text, headers=bearer("look-1")).status_code == 200
    for method, path in (("POST", "/videos"), ("DELETE", "/videos/1"), ("DELETE", "/jobs/x")):
        answer = locked.request(method, path, headers=bearer("look-1"))
        assert answer.status_code == 403
        assert "needed: write" in answer.json()["detail"]
    assert locked.delete("/jobs/x", headers=bearer("change-1")).status_code == 404


@pytest.mark.parametrize(
    "given",
    [
        {"host": "0.0.0.0"},
        {"host": "192.0.2.1"},
        {"api_keys": "admin:secret"},
        {"api_keys": "read:abc"},
        {"api_keys": "secret"},
        {"port": 70000},
        {"query_second": 1},
    ],
)
def test_settings_that_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ServerSettings.model_validate(given)


def test_open_addresses_need_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ServerSettings(host="::1").key_of("x") is None
    monkeypatch.setenv("DEJAVU_API_KEYS", KEYS)
    settings = ServerSettings(host="0.0.0.0")
    roles = {secret: settings.key_of(secret) for secret in ("look-1", "change-1", "")}
    assert {secret: key and key.role for secret, key in roles.items()} == {
        "look-1": "read", "change-1": "write", "": None
    }  # fmt: skip


def test_bodies_that_are_too_long(locked: TestClient) -> None:
    headers = {**bearer("change-1"), "Content-Type": "application/json"}
    long = b'{"text": "' + b"a" * 3000 + b'"}'
    said = locked.post("/query", content=long, headers=headers)
    unsaid = locked.post("/query", content=iter([long[:1000], long[1000:]]), headers=headers)
    upload = locked.post("/videos", files={"file": b"x" * 6000}, headers=bearer("change-1"))
    for answer in (said, unsaid, upload):
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_an_upload_that_does_not_say_how_long_it_is(locked: TestClient) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.mp4"\r\n\r\n'
    headers = {**bearer("change-1"), "Content-Type": "multipart/form-data; boundary=b"}
    parts = iter([head, *[b"x" * 1000] * 8, b"\r\n--b--\r\n"])
    assert locked.post("/videos", content=parts, headers=headers).status_code == 413


def test_request_ids(client: TestClient) -> None:
    assert client.get("/livez", headers={"X-Request-Id": "mine-1"}).headers["x-request-id"] == (
        "mine-1"
    )
    for wrong in ("x" * 65, "a b", "<script>"):
        given = client.get("/livez", headers={"X-Request-Id": wrong}).headers["x-request-id"]
        assert given != wrong
    assert client.get("/nowhere").json()["request_id"]


@pytest.mark.parametrize(
    ("path", "status"),
    [("/livez", 200), ("/", 200), ("/videos", 200), ("/videos/99", 404), ("/query", 405)],
)
def test_head_is_get_without_its_body(client: TestClient, path: str, status: int) -> None:
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (status, b"")
    assert get.content
    for name in ("content-length", "content-type"):
        assert head.headers[name] == get.headers[name]


def test_an_unforeseen_error_tells_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret path")

    monkeypatch.setattr(engine, "query", fail)
    app = create_app(engine, ServerSettings())
    with (
        TestClient(app, base_url=URL) as client,  # raises what a server would log once more
        caplog.at_level(logging.ERROR),
    ):
        answer = client.post("/query", json={"text": "a"})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    (logged,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert answer.headers["x-request-id"] in logged.getMessage()
    assert logged.exc_info is not None


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:8000"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Host": "[::1"},
    ],
)
def test_foreign_pages_are_refused_where_no_key_is_needed(
    client: TestClient, headers: dict[str, str]
) -> None:
    answer = client.get("/videos", headers=headers)
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "headers",
    [{"Host": "localhost:8000"}, {"Host": "[::1]:8000"}, {"Origin": URL}],
)
def test_own_pages_are_served(client: TestClient, headers: dict[str, str]) -> None:
    assert client.get("/videos", headers=headers).status_code == 200


def test_health(client: TestClient, engine: Engine) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    ready = client.get("/readyz").json()
    assert ready["status"] == "ready"
    assert ready["model"] == engine.space
    client.get("/videos/1")
    figures = client.get("/metrics").text
    assert 'dejavu_videos{status="ready"} 2.0' in figures
    assert 'route="/videos/{video_id}",status="200"' in figures


def test_the_page_and_its_files(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    for name, kind in (("app.js", "javascript"), ("style.css", "css"), ("icon.svg", "svg")):
        answer = client.get(f"/web/{name}")
        assert kind in answer.headers["content-type"]
        assert f"/web/{name}" in page.text
    for name in ("none.js", "..%2Fapp.py", "%2e%2e%2fapp.py"):
        assert client.get(f"/web/{name}").status_code == 404
    assert "<script>" not in page.text
    assert "style=" not in page.text


def test_the_docs_need_nothing_from_elsewhere(client: TestClient) -> None:
    docs = client.get("/docs")
    assert docs.status_code == 200
    assert "default-src 'self'" in docs.headers["content-security-policy"]
    script = client.get("/web/docs.js").text
    assert "://" not in docs.text + script  # a server without a way out shows them too
    assert client.get("/openapi.json").json()["paths"]
    described = client.get("/openapi.json").json()
    assert {"/query", "/sql", "/videos", "/jobs/{job_id}", "/livez"} <= set(described["paths"])
    upload = described["paths"]["/videos"]["post"]["requestBody"]["content"]
    assert set(upload) == {"application/json", "multipart/form-data"}


def test_what_a_key_allows(locked: TestClient, client: TestClient) -> None:
    assert locked.get("/me", headers=bearer("look-1")).json() == {"role": "read"}
    assert locked.get("/me", headers=bearer("change-1")).json() == {"role": "write"}
    assert client.get("/me").json() == {"role": "write"}


def test_a_version_may_be_named(client: TestClient) -> None:
    assert client.get("/v1/videos").json() == client.get("/videos").json()
    assert client.get("/v1/livez").status_code == 200
    assert client.post("/v1/query", json={"text": "a star"}).status_code == 200
    for path in ("/v2/videos", "/v1", "/v1v1/videos", "/v1/v1/videos"):
        assert client.get(path).status_code == 404


SELECTS = [
    "SELECT * FROM videos",
    "SELECT hash(path) AS h, length(path) AS n, path FROM videos",
    "SELECT v.path || '' AS p, count(*) FROM videos v JOIN frames USING (video_id) GROUP BY 1",
    "SELECT name FROM videos WHERE path LIKE '/%'",
    "SELECT error(path) FROM videos",
    "EXPLAIN ANALYZE SELECT path FROM videos",
]


def test_who_only_looks_sees_no_folders(locked: TestClient, engine: Engine) -> None:
    folder = str(Path(engine.store.catalog.video(1).path).parent)
    catalog = engine.store.catalog
    job = catalog.add_job("ingest", {"paths": [f"{folder}/gone.mp4"]})
    catalog.update_job(job, status="failed", error=f"{folder}/gone.mp4: cannot be read")
    seen = {"read": "", "write": ""}
    for role, key in (("read", "look-1"), ("write", "change-1")):
        for path in ("/videos", "/videos/1", "/jobs", f"/jobs/{job}", f"/jobs/{job}/events"):
            seen[role] += locked.get(path, headers=bearer(key)).text
        for sql in SELECTS:
            answer = locked.post("/sql", json={"sql": sql}, headers=bearer(key))
            assert answer.status_code in (200, 400)
            seen[role] += answer.text
    assert folder in seen["write"]
    assert folder not in seen["read"]
    assert str(engine.store.layout.root) not in seen["read"]
    paths = locked.post("/sql", json={"sql": SELECTS[3]}, headers=bearer("look-1")).json()
    assert paths["rows"] == []
