"""A move to another model through the server that has the folder: HTTP, Python, command line."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.config import ServerSettings
from engine.client import Client
from engine.session import Engine
from engine.video.write import write_h264
from tests.api.conftest import URL, Ran, serving
from tests.api.test_videos import ended
from tests.checkpoints import tiny_clip
from tests.embedding_server import COLOURS, EmbeddingServer, embedding_server


@pytest.fixture
def model() -> Iterator[EmbeddingServer]:
    with embedding_server() as told:
        yield told


@pytest.fixture
def engine(model: EmbeddingServer, tmp_path: Path) -> Iterator[Engine]:
    frames = [np.full((32, 32, 3), COLOURS[each], np.uint8) for each in ("red", "blue") * 4]
    write_h264(tmp_path / "one.mp4", frames, 4.0)
    name = f"{model.url}#old?size=32"
    with Engine.open(tmp_path / "data", name, "cpu") as opened:
        opened.ingest(tmp_path / "one.mp4")
        yield opened


def test_queries_of_a_server_turn_when_all_is_there(
    engine: Engine, tmp_path: Path, cli: Callable[..., Ran]
) -> None:
    folder, old = tiny_clip(tmp_path / "models" / "tiny"), engine.settings.model
    settings = ServerSettings(video_roots=str(tmp_path / "models"))
    app = create_app(engine, settings)
    with serving(app, settings) as port:
        client = Client(f"http://127.0.0.1:{port}")
        first = engine.space
        job = client.migrate(str(folder))
        assert (job.status, job.kind) == ("ready", "migrate")
        assert engine.settings.model == str(folder)
        assert engine.store.catalog.current_space().key == engine.space != first
        assert client.query("a dog").coverage.frames == engine.index(first).num_rows
        # back again: its own space is known, though a URL; the command goes through the server
        engine.announce(f"http://127.0.0.1:{port}")
        ran = cli("models", "migrate", folder, old, "--data", tmp_path / "data", "--json")
        assert ran.code == 0, ran.err
        assert json.loads(ran.out)["status"] == "ready"
        assert engine.space == first


def test_a_request_reaches_no_model_that_was_not_opened(engine: Engine, tmp_path: Path) -> None:
    folder = tiny_clip(tmp_path / "elsewhere")
    settings = ServerSettings(video_roots=str(tmp_path / "models"))
    with TestClient(create_app(engine, settings), base_url=URL) as server:

        def said(**body: object) -> tuple[int, str]:
            reply = server.post("/videos/migrate", json=body)
            return reply.status_code, reply.text

        code, text = said(to="https://user:sk-secret@evil.example/v1#eye")
        assert (code, "sk-secret" in text) == (403, False)
        assert "may not name the URL of a model" in text
        assert said(to=str(folder))[0] == 403
        assert said(to=f"open_clip:{folder}")[0] == 403
        assert said(to=f"{folder}?dim=8")[0] == 403
        assert said(to="")[0] == 422
        assert said(to=engine.settings.model, source="nowhere")[0] == 404
        assert server.get("/jobs").json() == []
        before = engine.space
        reply = server.post("/videos/migrate", json={"to": engine.settings.model})
        job = ended(server, reply.json())
        assert (job["status"], engine.space) == ("failed", before)
        assert "allowed: two models" in job["error"]
