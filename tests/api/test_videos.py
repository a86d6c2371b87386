"""`/videos`: bring in, list, look at, remove."""

import io
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from api.app import create_app
from api.config import ServerSettings
from engine.session import Engine
from tests.api.conftest import URL, Made
from tests.waiting import until


@pytest.fixture(scope="module")
def roots(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the server may read, with a way out of it."""
    folder = tmp_path_factory.mktemp("roots")
    shutil.copy(made.clips / "one.mp4", folder / "again.mp4")
    (folder / "out.mp4").symlink_to(made.clips / "one.mp4")
    (folder / "text.mp4").write_text("not a video")
    return folder


@pytest.fixture(scope="module")
def server(own_engine: Engine, roots: Path) -> Iterator[TestClient]:
    """A server that may change its store."""
    settings = ServerSettings(video_roots=str(roots))
    with TestClient(create_app(own_engine, settings), base_url=URL) as opened:
        yield opened


def ended(server: TestClient, job: dict[str, Any]) -> dict[str, Any]:
    """Wait for a job and return it."""

    def found() -> dict[str, Any] | None:
        now: dict[str, Any] = server.get(job["job_url"]).json()
        return now if now["status"] in ("ready", "failed", "cancelled") else None

    return until(found)


def test_pages_are_complete_and_in_order(client: TestClient) -> None:
    first = client.get("/videos", params={"limit": 1}).json()
    second = client.get("/videos", params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert second["next_cursor"] is None
    names = [page["videos"][0]["name"] for page in (first, second)]
    assert sorted(names) == ["one.mp4", "two.mp4"]
    video = first["videos"][0]
    assert client.get(f"/videos/{video['id']}").json() == video
    assert video["status"] == "ready"
    assert video["report"]["strategy"] == "dense"
    assert [v["name"] for v in client.get("/videos?name=tw*").json()["videos"]] == ["two.mp4"]


@pytest.mark.parametrize("query", ["cursor=x", "cursor=²", "cursor=-1"])
def test_a_cursor_that_is_none(client: TestClient, query: str) -> None:
    assert client.get(f"/videos?{query}").status_code == 400


@pytest.mark.parametrize("video_id", ["7", "99999999999999999999", "-1"])
def test_no_such_video(client: TestClient, video_id: str) -> None:
    for path in ("", "/frames/1.jpg", "/clip.mp4?start=0&stop=1"):
        answer = client.get(f"/videos/{video_id}{path}")
        assert answer.status_code in (404, 422)
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_frame_is_a_picture(client: TestClient) -> None:
    for seconds, width in (("0", 480), ("1.5", 32), ("900", 64), ("-3", 64)):
        answer = client.get(f"/videos/1/frames/{seconds}.jpg", params={"width": width})
        assert answer.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(answer.content)).width == min(width, 96)
    assert client.get("/videos/1/frames/nan.jpg").status_code == 400
    assert client.get("/videos/1/frames/soon.jpg").status_code == 422


def test_a_clip_plays_and_answers_ranges(client: TestClient, tmp_path: Path) -> None:
    url = "/videos/1/clip.mp4?start=1&stop=2"
    whole = client.get(url)
    assert whole.status_code == 200
    assert whole.headers["accept-ranges"] == "bytes"
    part = client.get(url, headers={"Range": "bytes=0-9"})
    assert part.status_code == 206
    assert part.content == whole.content[:10]
    assert part.headers["content-range"] == f"bytes 0-9/{len(whole.content)}"
    assert client.get(url, headers={"Range": "bytes=9999999-"}).status_code == 416
    (tmp_path / "clip.mp4").write_bytes(whole.content)
    with av.open(tmp_path / "clip.mp4") as container:
        seconds = [frame.time for frame in container.decode(video=0)]
    assert seconds[0] == 0
    assert seconds[-1] + 0.1 >= 0.9


@pytest.mark.parametrize(
    "span", ["start=2&stop=1", "start=0&stop=900", "start=nan&stop=1", "start=1&stop=1"]
)
def test_a_clip_that_cannot_be(client: TestClient, span: str) -> None:
    assert client.get(f"/videos/1/clip.mp4?{span}").status_code == 400


def test_a_clip_beyond_the_end(client: TestClient) -> None:
    answer = client.get("/videos/1/clip.mp4?start=500&stop=501")
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_upload_becomes_a_video(server: TestClient, made: Made) -> None:
    before = len(server.get("/videos").json()["videos"])
    content = (made.clips / "two.mp4").read_bytes() + b"\0" * 8  # another content, the same video
    answer = server.post(
        "/videos", files={"file": ("new.mp4", content)}, data={"fps": "1", "strategy": "dense"}
    )
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == job["job_url"] == f"/jobs/{job['id']}"
    assert ended(server, job)["status"] == "ready"
    found = server.get("/videos?name=new.mp4").json()["videos"]
    assert len(found) == 1
    moments = server.post("/query", json={"text": "a star", "videos": ["new.mp4"]}).json()
    assert moments["moments"]
    upload = list(server.app.state.engine.store.layout.uploads.iterdir())  # type: ignore[attr-defined]
    assert [path.name for path in upload] == ["new.mp4"]
    assert server.delete(f"/videos/{found[0]['id']}").status_code == 204
    assert server.get(f"/videos/{found[0]['id']}").status_code == 404
    assert not upload[0].exists()
    assert len(server.get("/videos").json()["videos"]) == before


def test_the_same_upload_twice_is_one_file(server: TestClient, made: Made) -> None:
    uploads: Path = server.app.state.engine.store.layout.uploads  # type: ignore[attr-defined]
    content = (made.clips / "two.mp4").read_bytes() + b"\0" * 9
    for name in ("same.mp4", "same.mp4", "other.mp4"):
        job = server.post("/videos", files={"file": (name, content)}, data={"fps": "1"}).json()
        assert ended(server, job)["status"] == "ready"
    assert [path.name for path in uploads.iterdir()] == ["other.mp4"]
    (found,) = server.get("/videos?name=same.mp4").json()["videos"]
    assert server.get(f"/videos/{found['id']}/frames/0.jpg").status_code == 200
    assert server.delete(f"/videos/{found['id']}").status_code == 204
    assert list(uploads.iterdir()) == []


def test_an_upload_that_cannot_be_used_is_kept_once_until_removed(server: TestClient) -> None:
    uploads: Path = server.app.state.engine.store.layout.uploads  # type: ignore[attr-defined]
    before = set(uploads.iterdir()) if uploads.exists() else set()
    for _ in range(2):
        job = server.post("/videos", files={"file": ("bad.mp4", b"not a video")}).json()
        said = ended(server, job)
        assert said["status"] == "failed"
        assert "kept until the video is removed" in said["error"]
    assert len(set(uploads.iterdir()) - before) == 1
    (found,) = (v for v in server.get("/videos").json()["videos"] if "bad" in v["name"])
    assert found["status"] == "quarantined"
    assert server.delete(f"/videos/{found['id']}").status_code == 204
    assert set(uploads.iterdir()) == before


@pytest.mark.parametrize(
    "name", ["../../x.mp4", "..\\..\\x.mp4", "/etc/x.mp4", "a\0b.mp4", ".x", "é" * 300, "..", "\n"]
)
def test_hostile_names_stay_in_the_folder(server: TestClient, name: str) -> None:
    uploads: Path = server.app.state.engine.store.layout.uploads  # type: ignore[attr-defined]
    answer = server.post("/videos", files={"file": (name, b"no video")})
    assert answer.status_code in (202, 400, 422)
    if answer.status_code == 202:
        job = ended(server, answer.json())
        assert job["status"] == "failed"
        assert job["error"]
    assert all(path.parent == uploads for path in uploads.rglob("*"))
    assert not (uploads.parents[1] / "x.mp4").exists()


def test_a_path_inside_the_roots(server: TestClient, roots: Path) -> None:
    answer = server.post("/videos", json={"path": str(roots / "again.mp4")})
    assert answer.status_code == 202
    assert ended(server, answer.json())["status"] == "ready"  # known by its content
    failed = ended(server, server.post("/videos", json={"path": str(roots / "text.mp4")}).json())
    assert failed["status"] == "failed"
    assert "text.mp4" in failed["error"]


def test_paths_that_lead_out(server: TestClient, roots: Path, made: Made) -> None:
    for path in ("/etc/passwd", f"{roots}/../x", roots / "out.mp4", made.clips, "one.mp4"):
        answer = server.post("/videos", json={"path": str(path)})
        assert answer.status_code == 403, path
        assert "allowed" in answer.json()["detail"]
    assert server.post("/videos", json={"path": str(roots / "none.mp4")}).status_code == 404
    assert server.post("/videos", json={"path": "a\0b"}).status_code == 400


@pytest.mark.parametrize(
    ("content", "at"),
    [
        (b"", "path"),
        (b"{", ""),
        (b"[]", ""),
        (b'{"path": "a", "fps": 0}', "fps"),
        (b'{"path": "a", "speed": 1}', "speed"),
    ],
)
def test_a_body_that_is_not_valid(server: TestClient, content: bytes, at: str) -> None:
    answer = server.post("/videos", content=content)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["at"] == at


def test_forms_that_are_not_valid(server: TestClient) -> None:
    assert server.post("/videos", data={"fps": "1"}, files={"other": b""}).status_code == 422
    assert server.post("/videos", data={"fps": "no"}, files={"file": b"x"}).status_code == 422
    broken = {"Content-Type": "multipart/form-data"}
    assert server.post("/videos", content=b"x", headers=broken).status_code == 400
    answer = server.post("/videos", json={"path": "a", "strategy": "dens"})
    assert answer.status_code == 400
    assert "nearest: dense" in answer.json()["detail"]


def test_a_file_that_went_away(server: TestClient, roots: Path, own_engine: Engine) -> None:
    path = own_engine.store.catalog.video("two.mp4").path
    content = Path(path).read_bytes()
    gone = roots / "gone.mp4"
    gone.write_bytes(content + b"\0" * 16)
    assert ended(server, server.post("/videos", json={"path": str(gone)}).json())["error"] is None
    video = own_engine.store.catalog.video("gone.mp4")
    gone.unlink()
    for view in ("frames/1.jpg", "clip.mp4?start=0&stop=1"):
        answer = server.get(f"/videos/{video.video_id}/{view}")
        assert 400 <= answer.status_code < 500, answer.text
        assert "gone.mp4" in answer.json()["detail"]


def num_open() -> int:
    """How many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


FORM = {"Content-Type": "multipart/form-data; boundary=b"}
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.mp4"\r\n\r\n'


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (PART + b"x" * 2_000_000, 422),  # never ends
        (PART + b"x" * 10 + b"\r\n" + PART + b"y\r\n--b--\r\n", 400),  # two files
        (b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", 400),
        (b"nothing of the kind", 400),
    ],
)
def test_forms_that_break_off_leave_nothing(server: TestClient, body: bytes, status: int) -> None:
    uploads: Path = server.app.state.engine.store.layout.uploads  # type: ignore[attr-defined]
    before, opened = list(uploads.iterdir()), num_open()
    answer = server.post("/videos", content=body, headers=FORM)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert list(uploads.iterdir()) == before
    assert num_open() <= opened + 1


def test_an_upload_goes_where_it_stays(
    server: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))  # as if /tmp were full
    answer = server.post("/videos", files={"file": ("big.mp4", b"x" * 3_000_000)})
    assert answer.status_code == 202
    assert ended(server, answer.json())["status"] == "failed"
