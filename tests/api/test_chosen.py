"""`POST /videos` by folders and globs, and what it would do."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.config import ServerSettings
from engine.session import Engine
from tests.api.conftest import URL, Made
from tests.api.test_videos import ended


@pytest.fixture(scope="module")
def root(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of cameras, with a link out of it."""
    folder = tmp_path_factory.mktemp("cameras")
    for place in ("north/a.mp4", "south/b.mp4", "south/night/c.mp4"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made.clips / "one.mp4", folder / place)
    (folder / "south/broken.mp4").write_text("not a video")
    away = tmp_path_factory.mktemp("away") / "secret.mp4"
    shutil.copy(made.clips / "two.mp4", away)
    (folder / "north/out.mp4").symlink_to(away)
    return folder


@pytest.fixture(scope="module")
def server(own_engine: Engine, root: Path) -> Iterator[TestClient]:
    """A server that may read it."""
    settings = ServerSettings(video_roots=str(root))
    with TestClient(create_app(own_engine, settings), base_url=URL) as opened:
        yield opened


def outcomes(server: TestClient, **body: object) -> dict[str, str]:
    """What would become of each file."""
    answer = server.post("/videos/forecast", json=body)
    assert answer.status_code == 200, answer.text
    return {each["name"]: each["outcome"] for each in answer.json()["files"]}


def test_a_forecast_tells_what_would_come(server: TestClient, root: Path) -> None:
    before = server.get("/videos").json()
    told = server.post("/videos/forecast", json={"path": str(root)}).json()
    outcomes = {each["name"]: each["outcome"] for each in told["files"]}
    assert outcomes == {
        "north/a.mp4": "known", "south/b.mp4": "known", "south/night/c.mp4": "known",
        "south/broken.mp4": "quarantined",
    }  # fmt: skip
    assert told["left_out"] == ["north/out.mp4"]
    finer = server.post("/videos/forecast", json={"path": str(root), "fps": 8}).json()
    assert finer["frames"] > 0
    assert finer["decode_seconds"] > 0
    assert server.get("/videos").json() == before
    assert server.get("/jobs").json() == []


def test_globs_choose(server: TestClient, root: Path) -> None:
    assert set(outcomes(server, path=f"{root}/*/[ab].mp4")) == {"a.mp4", "b.mp4"}
    chosen = outcomes(server, path=str(root), include=["south"], exclude=["night", "broken*"])
    assert set(chosen) == {"south/b.mp4"}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"path": "{root}/*.avi"}, 404, "nothing matches"),
        ({"path": "/etc/*"}, 403, "outside the video roots"),
        ({"path": "{root}/*/../../**/*.mp4"}, 400, "goes up after a wildcard"),
        ({"path": "{root}", "include": ["west"]}, 404, "include 'west' leave none of 5 files"),
        ({"path": "{root}", "include": [" "]}, 400, "an empty glob"),
        ({"path": "{root}/*\0"}, 400, "is no path"),
    ],
)
@pytest.mark.parametrize("route", ["/videos", "/videos/forecast"])
def test_what_means_nothing_is_refused(
    server: TestClient, root: Path, route: str, body: dict[str, object], status: int, said: str
) -> None:
    given = {**body, "path": str(body["path"]).replace("{root}", str(root / "west" / ".."))}
    (root / "west").mkdir(exist_ok=True)
    answer = server.post(route, json=given)
    assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer.text


def test_a_folder_comes_in_without_what_lies_outside(server: TestClient, root: Path) -> None:
    body = {"path": str(root), "exclude": ["broken*"]}
    job = ended(server, server.post("/videos", json=body).json())
    assert job["status"] == "ready"
    names = {name for each in server.get("/videos").json()["videos"] for name in each["names"]}
    assert {"north/a.mp4", "south/b.mp4", "south/night/c.mp4"} <= names
    assert "north/out.mp4" not in names
