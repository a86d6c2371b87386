"""A server over a bucket: only what lies in its roots is asked for, and then all works."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.config import ServerSettings
from engine.objects.address import read_address
from engine.objects.blocks import blocks
from engine.session import Engine
from tests.api.conftest import URL, Made
from tests.api.test_videos import ended
from tests.objects.s3 import S3


def test_roots_may_be_addresses() -> None:
    settings = ServerSettings(video_roots="/a:s3://films/north:https://host:8443/b:/c")
    assert list(map(str, settings.roots)) == [
        "/a", "s3://films/north", "https://host:8443/b", "/c",
    ]  # fmt: skip
    for inside in ("s3://films/north", "s3://films/north/x.mp4", "https://host:8443/b/x.mp4"):
        assert settings.allows(read_address(inside))
    for outside in (
        "s3://films/northern/x",
        "s3://films",
        "s3://other/north/x",
        "https://host/b/x",
    ):
        assert not settings.allows(read_address(outside))
    assert settings.allows(Path("/c/x"))
    assert not settings.allows(Path("/d"))


@pytest.fixture
def server(s3: S3, made: Made, tmp_path: Path):
    for name in ("one.mp4", "two.mp4"):
        s3.put(f"films/{name}", (made.clips / name).read_bytes())
        s3.put(f"secret/{name}", (made.clips / name).read_bytes())
    with Engine.open(tmp_path / "store", device="cpu", strategy="dense") as engine:
        settings = ServerSettings(video_roots=f"{tmp_path}:s3://bucket/films")
        with TestClient(create_app(engine, settings), base_url=URL) as opened:
            yield opened


def test_a_bucket_is_brought_in_asked_and_shown(server: TestClient, s3: S3, made: Made) -> None:
    for outside in (
        "s3://bucket/secret/one.mp4", "s3://bucket/films/../secret/one.mp4", "s3://*/films/*",
        "s3://bucket/*/one.mp4", "https://127.0.0.1/x.mp4", "gs://bucket/films/one.mp4",
    ):  # fmt: skip
        answer = server.post("/videos", json={"path": outside})
        assert answer.status_code in (400, 403), outside
        assert "\n" not in answer.json()["detail"]
    assert s3.asked == []
    answer = server.post("/videos", json={"path": "s3://bucket/films/*.mp4", "exclude": ["two*"]})
    assert answer.status_code == 202, answer.text
    assert ended(server, answer.json())["status"] == "ready"
    [video] = server.get("/videos").json()["videos"]
    assert (video["name"], video["status"], video["source_gone"]) == ("one.mp4", "ready", None)
    found = server.post("/query", json={"text": made.text}).json()
    assert found["moments"][0]["video_id"] == video["id"]
    where = f"/videos/{video['id']}"
    for part, media in (
        ("/frames/1.5.jpg", "image/jpeg"), ("/sprite.jpg?tiles=4&width=32", "image/jpeg"),
        ("/clip.mp4?start=1&stop=2", "video/mp4"),
    ):  # fmt: skip
        answer = server.get(where + part)
        assert (answer.status_code, answer.headers["content-type"]) == (200, media), answer.text
    blocks.cache_clear()
    s3.fail(".", 10**6, status=403, code="RequestTimeTooSkewed")
    answer = server.get(f"{where}/frames/2.5.jpg")
    assert answer.status_code == 502
    assert "set this machine's clock" in answer.json()["detail"]
    assert server.get(where).status_code == 200
    s3.faults.clear()
    assert server.delete(where).status_code == 204
    assert "films/one.mp4" in s3.objects
