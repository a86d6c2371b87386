"""ACTION, DETECT and detections over HTTP, in Python over HTTP and on the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.config import ServerSettings
from engine.session import Engine
from tests.api.conftest import URL, Ran
from tests.detections import random_yolos

ACTION = "SELECT video_id, clip, ACTION(clip) AS what, ACTION(clip, 'growing') AS p FROM clips ORDER BY 1, 2"  # noqa: E501
BOXES = "SELECT video_id, frame, label, score, x0, y1 FROM detections ORDER BY 1, 2, 4, 5"
BEST = "SELECT frame, DETECT(frame, 'cup') AS s FROM frames WHERE seconds < 1 ORDER BY 1, 2"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return random_yolos(tmp_path_factory.mktemp("random-yolos"), ("ball", "box", "cup"))


def test_all_ways_give_the_same_rows(
    data: Path, model: str, cli: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEJAVU_DETECTOR_MODEL", model)
    with Engine.open(data, device="cpu") as engine:
        known = {sql: engine.sql(sql).rows() for sql in (ACTION, BOXES, BEST)}
        with TestClient(create_app(engine, ServerSettings()), base_url=URL) as client:
            for sql, rows in known.items():
                answer = client.post("/sql", json={"sql": sql})
                assert answer.status_code == 200, answer.text
                told: dict[str, Any] = answer.json()
                assert told["rows"] == rows
            wrong = client.post("/sql", json={"sql": "SELECT DETECT(frame, 'cop') FROM frames"})
            assert wrong.status_code == 400
            assert "nearest: cup" in wrong.text
            unknown = client.post("/sql", json={"sql": "SELECT ACTION(clip, 'x') FROM clips"})
            assert unknown.status_code == 400
            plan = client.post("/explain", json={"sql": BOXES})
            assert "Detect" in plan.text
    for sql, rows in known.items():
        ran = cli("sql", sql, "--data", data, "--json")
        assert ran.code == 0, ran.err
        assert json.loads(ran.text) == rows
    assert len(known[ACTION]) >= 4
    assert len(known[BOXES]) >= 4
    assert len(known[BEST]) >= 4
