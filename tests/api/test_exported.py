"""A page that `query --html` writes: it stands alone in a browser, plays, and says what it is."""

import html
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from api.app import create_app
from api.config import ServerSettings
from engine.session import Engine
from tests.api.browser import Browser, until
from tests.api.conftest import Made, Ran, serving

HOSTILE = "\"><img src=x onerror=alert(1)>'#50%?&\u202egnp.mp4"
SHOWN = HOSTILE.replace("\u202e", r"\u202e")  # else it would read as 4pm.png
Cli = Callable[..., Ran]
PLAYED = "const v = document.querySelector('video'); return !v.error && v.currentTime"


@pytest.fixture(scope="module")
def named(made: Made, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store of a clip with a name that would be markup and an address, and the clip's folder."""
    folder = tmp_path_factory.mktemp("exported")
    clips = folder / "javascript:alert(1)"
    clips.mkdir()
    shutil.copy(made.clips / "two.mp4", clips / HOSTILE)
    with Engine.open(folder / "data", device="cpu") as engine:
        engine.ingest(clips, strategy="dense")
    return folder / "data", clips


@pytest.mark.parametrize("links", ["relative", "absolute"])
def test_it_plays_the_moment(
    cli: Cli, named: tuple[Path, Path], browser: Browser, links: str
) -> None:
    data, clips = named
    page = clips.parent / f"{links}.html"
    title = 'a <b>star</b> & "more"'
    made = cli("query", title, "--html", page, "--links", links, "--data", data, "--device", "cpu")
    assert made.code == 0, made.err
    browser.open(page.as_uri())
    assert browser.tell("return document.querySelector('h1').textContent") == title
    assert browser.tell("return document.querySelector('figcaption a').textContent") == SHOWN
    assert browser.tell("return document.querySelectorAll('[onerror], b, script').length") == 0
    poster = "const i = new Image(); i.src = document.querySelector('video').poster; window.i = i"
    browser.tell(poster)
    assert until(lambda: browser.tell("return window.i.naturalWidth")) == 96
    browser.tell("const v = document.querySelector('video'); v.muted = true; v.play()")
    source = browser.tell("return document.querySelector('video').getAttribute('src')")
    begin, end = map(float, source.rpartition("#t=")[2].split(","))
    assert 0 <= begin < end
    played = until(lambda: browser.tell(PLAYED))
    assert played >= begin - 0.05
    assert "javascript:" not in source or links == "absolute"
    facts = browser.tell("return document.querySelector('dl').textContent")
    for told in ("frames of 1 videos", "complete", "builtin-", "mean drift of 0.02", "dense at 2"):
        assert told in facts


def test_it_plays_from_a_server(
    cli: Cli, named: tuple[Path, Path], browser: Browser, tmp_path: Path
) -> None:
    data, _ = named
    page, settings = tmp_path / "page.html", ServerSettings()
    with (
        Engine.open(data, device="cpu") as engine,
        serving(create_app(engine, settings), settings) as port,
    ):
        url = f"http://127.0.0.1:{port}"
        engine.announce(url)
        assert cli("query", "a star", "--html", page, "--data", data).code == 0
        text = html.unescape(page.read_text())
        source = text.partition(' src="')[2].partition('"')[0]
        assert source.startswith(f"{url}/videos/1/clip.mp4?start=")
        browser.open(source)  # a page of a file may not play what a server without keys has
        browser.tell("const v = document.querySelector('video'); v.muted = true; v.play()")
        assert until(lambda: browser.tell(PLAYED)) > 0


def test_links_that_are_none(cli: Cli, named: tuple[Path, Path], tmp_path: Path) -> None:
    data, page = named[0], tmp_path / "page.html"
    told = ("query", "a star", "--html", page, "--data", data, "--device", "cpu", "--links")
    assert cli(*told, "none").code == 0
    assert "<video" not in page.read_text()
    assert 'src="data:image/jpeg' in page.read_text()
    ran = cli(*told, "relativ")
    assert ran.code != 0
    assert "nearest: relative" in ran.err
    assert "or http(s)://HOST" in ran.err
