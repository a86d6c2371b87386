"""`GET /settings`: what was set, what is stored, the model's card and its null."""

from pathlib import Path
from statistics import NormalDist

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.config import ServerSettings
from engine.session import Engine
from tests.api.browser import Browser, count, until
from tests.api.conftest import URL, Made

CARD = Path(__file__).resolve().parents[2] / "engine/vision/builtin/MODEL_CARD.md"


def test_it_tells_what_was_set_and_what_is_stored(data: Path, made: object) -> None:
    settings = ServerSettings(max_queries=3, api_keys="read:look-1,write:change-1")
    with Engine.open(data, device="cpu", fps=3, max_drift="none", sql_rows=777) as engine:
        with TestClient(create_app(engine, settings), base_url=URL) as client:
            told = client.get("/settings", headers={"Authorization": "Bearer look-1"}).json()
            assert client.get("/settings").status_code == 401
        space = engine.current_space()
        rows = engine.sql("SELECT count(*) AS n FROM frames").rows()[0]["n"]
        lasting = sum(video.duration_seconds or 0 for video in engine.videos())
    assert space is not None
    assert told["role"] == "read"
    assert told["ingest"]["fps"] == 3
    assert told["ingest"]["max_drift"] is None
    assert (told["limits"]["max_queries"], told["limits"]["sql_rows"]) == (3, 777)
    assert (told["model"]["space"], told["model"]["dimensions"]) == (space.key, space.dimension)
    assert told["model"]["weights"] == space.weight_hash
    assert (told["model"]["precision"], told["model"]["computed"]) == ("bf16", "float32")
    assert (told["store"]["videos"], told["store"]["embedded"]) == ({"ready": 2}, {"complete": 2})
    assert told["store"]["seconds"] == pytest.approx(lasting)
    assert [index["rows"] for index in told["store"]["indexes"]] == [rows]
    assert str(data.parent) not in str(told)


def test_a_null_is_told_once_it_was_measured(made: Made, tmp_path: Path) -> None:
    with (
        Engine.open(tmp_path / "fresh", device="cpu", false_match_rate=0.05) as engine,
        TestClient(create_app(engine, ServerSettings()), base_url=URL) as client,
    ):
        engine.ingest(made.clips / "one.mp4", fps=2, strategy="dense")
        assert client.get("/settings").json()["model"]["null"] is None
        client.post("/query", json={"text": "a star"})
        null = client.get("/settings").json()["model"]["null"]
    expected = NormalDist(null["middle"], null["width"]).inv_cdf(0.95)
    assert null["clear"] == pytest.approx(expected)
    assert null["chance"] == 0.05
    assert null["rows"] > 0


def test_the_card_is_the_one_in_the_docs(client: TestClient) -> None:
    """Each row told stands in one line of the file, each limit in its last part."""
    card = client.get("/settings").json()["model"]["card"]
    lines = [line.replace("*", "").replace("`", "") for line in CARD.read_text().splitlines()]
    for table in card["scores"]:
        assert len({len(row) for row in [table["head"], *table["rows"]]}) == 1
        for row in table["rows"]:
            assert any(line.startswith("|") and all(c in line for c in row) for line in lines), row
    names = [row[0] for table in card["scores"] for row in table["rows"]]
    assert "multiple choice, chance 25 %" in names
    assert len(card["limits"]) == 3
    assert "nothing of real pictures" in card["about"]


def test_the_page_shows_it(browser: Browser, url: str, engine: Engine) -> None:
    browser.open(url)
    until(lambda: count(browser, ".status.ready"))
    browser.click("#status")
    until(lambda: count(browser, ".model-card table"))
    body = browser.tell("return document.querySelector('#settings-body').textContent")
    for said in (
        *("37.1 %", "What it cannot", "sql_seconds", "0.02", "made-up clips only"),
        "Not tried out on this data folder",
    ):
        assert said in body
    assert count(browser, "#settings-body :is(input, textarea, button)") == 0
    path = engine.layout.card(engine.space)
    path.parent.mkdir(exist_ok=True)
    path.write_text("[]")
    try:
        browser.open("about:blank")
        browser.open(f"{url}#settings")
        until(lambda: count(browser, ".checked-card li"))
        listed = browser.tell("return document.querySelector('.checked-card').textContent")
    finally:
        path.unlink()
    assert "is no model's card" in listed
