"""The page with thousands of videos: what is not near what is seen is not there."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.app import create_app
from api.config import ServerSettings
from engine.session import Engine
from tests.api.browser import Browser, count, get, until
from tests.api.conftest import Made, serving
from tests.scale import SEEN, fill

VIDEOS = 5000


@pytest.fixture(scope="module")
def large(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on a store of so many videos."""
    folder = tmp_path_factory.mktemp("large")
    fill(folder / "store", Path(shutil.copy(made.clips / "one.mp4", folder)), VIDEOS, 100)
    settings = ServerSettings()
    with (
        Engine.open(folder / "store", device="cpu") as engine,
        serving(create_app(engine.load(), settings), settings) as port,
    ):
        yield f"http://127.0.0.1:{port}/"


def seen(browser: Browser) -> dict[int, str]:
    """The names of the cards that are on the screen, by their places in the list."""
    listed = until(lambda: browser.tell(SEEN))
    return dict(listed)


@pytest.mark.parametrize("width", [1280, 390])
def test_a_long_list_scrolls(browser: Browser, large: str, width: int) -> None:
    browser.look(width, "light")
    browser.open(f"{large}#videos")
    until(lambda: count(browser, "#video-list .video"))
    most = 0
    for share in (0.0, 0.5, 1.0, 0.31):
        browser.tell(f"scrollTo(0, {share} * document.documentElement.scrollHeight)")
        at = browser.tell("return scrollY / (document.documentElement.scrollHeight - innerHeight)")
        names = seen(browser)
        assert names == {place: f"{place:06d}.mp4" for place in names}
        middle = sum(names) / len(names) / VIDEOS
        assert middle == pytest.approx(at, abs=0.02)
        most = max(most, count(browser, "#video-list > *"))
    assert 4 < most < 120
    assert count(browser, "#video-list .video[aria-setsize='5000']") > 0
    browser.tell("scrollTo(0, document.documentElement.scrollHeight)")
    until(lambda: VIDEOS in seen(browser))


def test_a_filter_makes_it_short(browser: Browser, large: str) -> None:
    browser.open(f"{large}#videos?name=0044")
    until(lambda: count(browser, "#video-list .video a.name"))
    listed = get(f"{large}videos/ids", params={"name": "*0044*"}).json()["ids"]
    assert listed == [number for number in range(1, VIDEOS + 1) if "0044" in f"{number:06d}"]
    assert browser.tell("return document.querySelector('#videos-said').textContent") == (
        f"{len(listed)} videos"
    )
    assert min(seen(browser).items())[1] == f"{listed[0]:06d}.mp4"
