"""Examples to try: they are there, and what is not is not claimed."""

from pathlib import Path

from fastapi.testclient import TestClient

from api.app import create_app
from api.config import ServerSettings
from engine.session import Engine
from tests.api.browser import Browser, count, get, serious, until
from tests.api.conftest import URL, serving
from tests.detections import random_yolos


def of_kind(client: TestClient, kind: str) -> list[dict]:
    return [each for each in client.get("/examples").json() if each["kind"] == kind]


def test_what_was_said_and_detected_is_an_example(data: Path, tmp_path: Path) -> None:
    model = random_yolos(tmp_path / "yolos", ("ball", "box", "cup"))
    with (
        Engine.open(data, device="cpu", detector_model=model) as engine,
        TestClient(create_app(engine, ServerSettings()), base_url=URL) as client,
    ):
        frames = of_kind(client, "frame")
        assert [each["name"] for each in frames] == ["two.mp4", "one.mp4"]
        for each in frames:
            shown = client.get(f"/videos/{each['video_id']}/frames/{each['seconds']:.3f}.jpg")
            assert shown.status_code == 200
        assert of_kind(client, "said") == of_kind(client, "label") == []
        engine.tag("one.mp4", {"camera": "it's north"})
        [said] = of_kind(client, "said")
        found = client.get("/videos", params={"where": said["text"]}).json()["videos"]
        assert [video["name"] for video in found] == ["one.mp4"]
        sql = "SELECT video_id, label, seconds FROM detections WHERE video_id = 1 AND score >= 0.5"
        boxes = engine.sql(sql).rows()
        labels = of_kind(client, "label")
        assert {each["label"] for each in boxes} == {each["text"] for each in labels} != set()
        for each in labels:
            told = {"video_id": each["video_id"], "label": each["text"], "seconds": each["seconds"]}
            assert told in boxes
        looked = engine.sql(sql.replace("= 1", "= 2"), options={"budget_seconds": 1e-6})
        assert looked.rows() == []  # asking for examples looked at nothing


def test_an_empty_store_says_how_to_begin(browser: Browser, tmp_path: Path) -> None:
    settings = ServerSettings()
    with (
        Engine.open(tmp_path / "store", device="cpu") as engine,
        serving(create_app(engine.load(), settings), settings) as port,
    ):
        assert get(f"http://127.0.0.1:{port}/examples").json() == []
        browser.open(f"http://127.0.0.1:{port}/")
        until(lambda: count(browser, "#home-grid code"))
        home = "return document.querySelector('#home').textContent"
        until(lambda: "No videos yet" in browser.tell(home))
        told = browser.tell(home)
        assert "dejavu-engine ingest FOLDER" in told
        assert count(browser, "#examples") == 0
        assert serious(browser) == []
        browser.open("about:blank")


def test_the_page_offers_them(browser: Browser, url: str) -> None:
    browser.open(url)
    until(lambda: count(browser, "#examples-list .chip") == 2)
    browser.click("#examples-list .chip")
    until(lambda: count(browser, "#find-results .card"))
    assert browser.tell("return document.querySelector('#find-results .name').textContent") == (
        "two.mp4"
    )
