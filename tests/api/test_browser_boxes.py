"""Objects on the page: what is stored is drawn, more is looked for only when it is asked for."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.app import create_app
from api.config import ServerSettings
from engine.session import Engine
from tests.api.browser import Browser, count, post, until
from tests.api.conftest import Made, serving
from tests.detections import random_yolos

LEAST = 0.3  # of what is drawn
SQL = f"SELECT seconds, label, score, x0, y0, x1, y1 FROM detections WHERE video_id = 1 AND score >= {LEAST} ORDER BY 1, 3 DESC"  # noqa: E501


@pytest.fixture(scope="module")
def looking(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a detector that has looked at nothing."""
    folder = tmp_path_factory.mktemp("looking")
    model = random_yolos(folder, ("ball", "box", "cup"))
    store = shutil.copytree(made.store, folder / "store")
    settings = ServerSettings()
    with (
        Engine.open(Path(store), device="cpu", detector_model=model) as engine,
        serving(create_app(engine.load(), settings), settings) as port,
    ):
        yield f"http://127.0.0.1:{port}/"


def drawn(browser: Browser, inside: str) -> list[list[float]]:
    """The boxes that are drawn, as shares of what they are drawn over."""
    return browser.tell(
        f"const layer = document.querySelector({inside!r}).getBoundingClientRect();"
        f"return [...document.querySelectorAll({inside!r} + ' .box')].map((e) => {{"
        " const b = e.getBoundingClientRect(); return [(b.left - layer.left) / layer.width,"
        " (b.top - layer.top) / layer.height, (b.right - layer.left) / layer.width,"
        " (b.bottom - layer.top) / layer.height]; })"
    )


def test_boxes_are_looked_for_on_demand_and_drawn(browser: Browser, looking: str) -> None:
    browser.open(f"{looking}#video?id=1")
    buttons = "[...document.querySelectorAll('#video-body button')]"
    look = f"{buttons}.find((e) => /Look at/.test(e.textContent))"
    cost = until(lambda: browser.tell(f"return {look}?.textContent"))
    assert cost.startswith("Look at 8 frames, about")  # four seconds, two a second
    assert count(browser, "button.object") == 0
    browser.tell(f"{look}.click()")
    until(lambda: count(browser, "button.object"))
    until(lambda: browser.tell(f"return !{look}"))  # nothing is left to look at
    rows = post(f"{looking}sql", json={"sql": SQL}).json()["rows"]
    by_label: dict[str, list[dict]] = {}
    for row in rows:
        by_label.setdefault(row["label"], []).append(row)
    told = "return [...document.querySelectorAll('button.object')].map((e) => e.textContent)"
    expected = {
        f"{label} · {len(seen)} frame{'s' * (len(seen) > 1)}"
        for label, own in by_label.items()
        if (seen := {row["seconds"] for row in own})
    }
    assert set(browser.tell(told)) == expected
    label = browser.tell(told)[0].split(" ")[0]
    best = max(by_label[label], key=lambda row: row["score"])
    sides = [[r["x0"], r["y0"], r["x1"], r["y1"]] for r in rows if r["seconds"] == best["seconds"]]
    for width in (1280, 390):
        browser.look(width, "light")
        for box, side in zip(drawn(browser, ".shown-frame .boxes"), sides, strict=True):
            assert box == pytest.approx(side, abs=0.02)
    # the player draws the same over the video, which does not fill its element
    browser.look(1280, "light")
    browser.click(".shown-frame")
    until(lambda: browser.tell("return document.querySelector('video').readyState") > 1)
    browser.tell("document.querySelector('video').pause()")
    browser.tell(f"document.querySelector('video').currentTime = {best['seconds']} + 0.05")
    browser.press("b")
    until(lambda: len(drawn(browser, "#boxes")) == len(sides))
    for box, side in zip(drawn(browser, "#boxes"), sides, strict=True):
        assert box == pytest.approx(side, abs=0.03)
    shape = browser.tell(
        "const b = document.querySelector('#boxes').getBoundingClientRect();"
        "const v = document.querySelector('video');"
        "return [b.width / b.height, v.videoWidth / v.videoHeight]"
    )
    assert shape[0] == pytest.approx(shape[1], rel=0.02)
    browser.press("b")
    until(lambda: drawn(browser, "#boxes") == [])
