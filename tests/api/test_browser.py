"""The page in a browser: a text is looked for, a moment is found, its clip plays."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.config import ServerSettings
from engine.session import Engine
from tests.api.conftest import Made, serving

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium with its driver")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's name for one


class Browser:
    """A browser, told what to do over the WebDriver protocol."""

    def __init__(self, url: str, profile: Path) -> None:
        self._client = httpx.Client(base_url=url, timeout=60)
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        arguments += [f"--user-data-dir={profile}", "--autoplay-policy=no-user-gesture-required"]
        chromium = {"binary": CHROMIUM, "args": arguments}
        logs = {"browser": "ALL"}
        wanted = {"goog:chromeOptions": chromium, "goog:loggingPrefs": logs}
        answer = self._post("/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{answer['sessionId']}"

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        answer = self._client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["value"]

    def open(self, url: str) -> None:
        """Go to an address."""
        self._post(f"{self._session}/url", {"url": url})

    def find(self, css: str) -> str:
        """Return an element."""
        how = {"using": "css selector", "value": css}
        return str(self._post(f"{self._session}/element", how)[ELEMENT])

    def click(self, css: str) -> None:
        """Click on an element as a person does: only where it can be seen."""
        self._post(f"{self._session}/element/{self.find(css)}/click", {})

    def write(self, css: str, text: str) -> None:
        """Type into an element."""
        self._post(f"{self._session}/element/{self.find(css)}/value", {"text": text})

    def tell(self, script: str) -> Any:
        """Return what the page says to a script."""
        return self._post(f"{self._session}/execute/sync", {"script": script, "args": []})

    def complaints(self) -> list[str]:
        """What the page's console holds against it."""
        entries = self._post(f"{self._session}/se/log", {"type": "browser"})
        return [each["message"] for each in entries if each["level"] in ("SEVERE", "WARNING")]

    def close(self) -> None:
        """End it."""
        self._client.delete(self._session)
        self._client.close()


def until(ready: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait until something is there, and return it."""
    stop = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < stop, "it does not come"
        time.sleep(0.05)
    return found


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A browser without a window."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert DRIVER
    with subprocess.Popen([DRIVER, f"--port={port}", "--log-level=SEVERE"]) as driver:
        url = f"http://127.0.0.1:{port}"
        until(lambda: _answers(f"{url}/status"))
        opened = Browser(url, tmp_path / "profile")
        try:
            yield opened
        finally:
            opened.close()
            driver.terminate()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def test_find_and_play(browser: Browser, engine: Engine, made: Made) -> None:
    settings = ServerSettings()
    with serving(create_app(engine, settings), settings) as port:
        browser.open(f"http://127.0.0.1:{port}/")
        browser.write("#find-form input[name=text]", made.text)
        browser.click("#find-form button")
        card = "#find-results .card"
        until(lambda: browser.tell(f"return document.querySelectorAll('{card}').length"))
        picture = f"return document.querySelector('{card} img')?.naturalWidth"
        assert until(lambda: browser.tell(picture)) > 0
        name = browser.tell(f"return document.querySelector('{card} .name').textContent")
        assert name in ("one.mp4", "two.mp4")
        browser.click(card)
        playing = "const v = document.querySelector('video'); return v.currentTime * !v.error"
        until(lambda: browser.tell(playing) > 0.2)
        assert browser.tell("return document.querySelector('video').videoWidth") == 96
        assert browser.complaints() == []


def test_a_role_is_offered_what_it_may(browser: Browser, engine: Engine) -> None:
    settings = ServerSettings(api_keys="read:look-1,write:change-1")
    rows = "return document.querySelectorAll('#video-list tbody tr').length"
    removing = "return document.querySelectorAll('#video-list td button.quiet').length"
    with serving(create_app(engine, settings), settings) as port:
        for key, offered in (("look-1", 0), ("change-1", 2)):
            browser.open(f"http://127.0.0.1:{port}/docs")
            browser.tell(f"sessionStorage.setItem('key', '{key}')")
            browser.open(f"http://127.0.0.1:{port}/#videos")
            assert until(lambda: browser.tell(rows)) == 2
            assert browser.tell(removing) == offered
            hidden = browser.tell("return document.querySelector('#upload-form').hidden")
            assert hidden == (offered == 0)
