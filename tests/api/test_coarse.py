"""Coarse first, over HTTP and on the command line."""

import json
from collections.abc import Callable
from pathlib import Path

from fastapi.testclient import TestClient

from api.app import create_app
from api.config import ServerSettings
from engine.session import Engine
from tests.api.conftest import URL, Made, Ran
from tests.api.test_videos import ended


def test_a_server_takes_videos_coarsely_and_deepens_them(made: Made, tmp_path: Path) -> None:
    settings = ServerSettings(video_roots=str(made.clips))
    with (
        Engine.open(tmp_path / "data", device="cpu") as engine,
        TestClient(create_app(engine, settings), base_url=URL) as server,
    ):
        path = str(made.clips / "one.mp4")
        assert server.post("/videos", json={"path": path, "coverage": "some"}).status_code == 422
        engine.ingest(path, coverage="keys", strategy="dense")
        assert [video.state for video in engine.completeness()] == ["coarse"]
        found = server.post("/query", json={"text": made.text}).json()
        assert "coarse_seconds" in found["coverage"]
        job = ended(server, server.post("/videos/deepen", json={}).json())
        assert (job["status"], job["kind"]) == ("ready", "deepen")
        assert [video.state for video in engine.completeness()] == ["complete"]
        assert server.post("/videos/deepen", json={"seconds": 0}).status_code == 422


def test_commands_register_take_in_coarsely_and_deepen(
    cli: Callable[..., Ran], made: Made, tmp_path: Path
) -> None:
    data = ("--data", tmp_path / "data", "--device", "cpu")
    assert cli("register", made.clips / "two.mp4", *data).code == 0
    [video] = json.loads(cli("videos", "ls", "--data", tmp_path / "data", "--json").text)
    assert video["status"] == "registered"
    one = made.clips / "one.mp4"
    ran = cli("ingest", one, "--coverage", "keys", *data, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.text)["coverage"] == "keys"
    asked = cli("query", made.text, "--top", "1", "--video", "one.mp4", *data)
    assert "looked at by first frames alone" in asked.text or "embedded now" in asked.text
    done = json.loads(cli("deepen", *data, "--json").text)
    assert (done["left_gops"], done["left_seconds"]) == (0, 0)
    assert "0 frames" in cli("deepen", "--seconds", "5", *data).text
    wrong = cli("ingest", one, "--coverage", "some", *data)
    assert wrong.code == 2
    assert "allowed: all, keys, none" in wrong.err
