"""What is decided by a request's head: nothing of its body is read before."""

import asyncio
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from starlette.types import ASGIApp, Message

from api.app import create_app
from api.config import ServerSettings
from engine.session import Engine
from tests.api.conftest import URL

KEYS = "read:look-1,write:change-1"
FORM = {"content-type": "multipart/form-data; boundary=b"}
ROUTES = [
    ("POST", "/videos"), ("POST", "/query"), ("POST", "/sql"), ("GET", "/videos/1"),
    ("DELETE", "/videos/77"), ("GET", "/jobs"), ("DELETE", "/jobs/x"), ("GET", "/metrics"),
    ("PUT", "/nowhere"), ("POST", "/v1/query"),
]  # fmt: skip


@pytest.fixture(scope="module")
def locked(engine: Engine) -> ASGIApp:
    """An application that asks for keys."""
    settings = ServerSettings(api_keys=KEYS, max_body_bytes=2000, max_upload_bytes=50_000)
    return create_app(engine, settings)


def heard(app: ASGIApp, method: str, path: str, headers: dict[str, str]) -> tuple[int, int, bytes]:
    """Send a body that does not end; the status, how much was read, and the answer's Connection."""
    read, status, connection = 0, 0, b""

    async def receive() -> Message:
        nonlocal read
        read += 1000
        if read > 1_000_000:
            raise AssertionError("read on and on")
        return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

    async def send(message: Message) -> None:
        nonlocal status, connection
        if message["type"] == "http.response.start":
            status = message["status"]
            connection = dict(message["headers"]).get(b"connection", b"")

    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(),
        "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
        "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 1),
        "headers": [(k.encode(), v.encode()) for k, v in {"host": "127.0.0.1", **headers}.items()],
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    return status, read, connection


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "length", [{"content-length": "500000000"}, {"transfer-encoding": "chunked"}]
)
def test_without_a_key_no_body_is_read(
    locked: ASGIApp, method: str, path: str, length: dict[str, str]
) -> None:
    assert heard(locked, method, path, {**FORM, **length}) == (401, 0, b"close")


@pytest.mark.parametrize(("method", "path"), [r for r in ROUTES if r != ("POST", "/videos")])
def test_a_form_is_long_where_uploads_go_and_nowhere_else(
    locked: ASGIApp, method: str, path: str
) -> None:
    key = {"authorization": "Bearer change-1", "transfer-encoding": "chunked"}
    status, read, _ = heard(locked, method, path, {**FORM, **key})
    assert 400 <= status < 500 or method == "GET"
    assert read <= 3000


def test_an_upload_is_read_up_to_its_own_limit(locked: ASGIApp) -> None:
    key = {"authorization": "Bearer change-1", "transfer-encoding": "chunked"}
    status, read, _ = heard(locked, "POST", "/videos", {**FORM, **key})
    assert status in (400, 413)
    assert read <= 52_000
    assert heard(locked, "POST", "/videos", key)[1] <= 3000  # no form: no upload


def test_a_length_that_is_said_twice(locked: ASGIApp) -> None:
    both = {"content-length": "5", "transfer-encoding": "chunked"}
    key = {"authorization": "Bearer change-1"}
    assert heard(locked, "POST", "/query", {**both, **key}) == (400, 0, b"close")


@pytest.mark.parametrize("path", ["/videos", "/videos/1/frames/0.jpg", "/", "/web/app.js"])
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_no_other_page_shows_what_is_here(client: TestClient, path: str, site: str) -> None:
    picture = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    answer = client.get(path, headers=picture)
    assert answer.status_code == 403
    assert site in answer.json()["detail"]


def test_a_link_to_the_page_may_be_followed(client: TestClient) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/", headers={**link, "Sec-Fetch-Dest": "document"}).status_code == 200
    for path, dest in (("/", "iframe"), ("/videos", "document")):
        assert client.get(path, headers={**link, "Sec-Fetch-Dest": dest}).status_code == 403
    for site in ("same-origin", "none"):
        assert client.get("/videos", headers={"Sec-Fetch-Site": site}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/videos", "/videos/99", "/videos/1/frames/0.jpg"])
def test_answers_say_that_they_are_ours(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.fixture(scope="module")
def counting(engine: Engine) -> Iterator[TestClient]:
    """A server whose figures are read."""
    with TestClient(create_app(engine, ServerSettings()), base_url=URL) as opened:
        yield opened


def test_figures_do_not_grow_with_what_is_asked(counting: TestClient) -> None:
    counting.request("X0", "/livez")
    before = len(counting.get("/metrics").content)
    for number in range(1, 200):
        counting.request(f"X{number}", f"/livez{number}", headers={"Host": f"localhost:{number}"})
        counting.request(f"X{number}", "/livez")
    assert len(counting.get("/metrics").content) < before + 4000
