"""A browser for tests of the page, told what to do over the WebDriver protocol."""

import re
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx

from tests.waiting import LONG, until

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's name for one
get, post = partial(httpx.get, timeout=LONG), partial(httpx.post, timeout=LONG)


class Browser:
    """A browser, told what to do over the WebDriver protocol."""

    def __init__(self, url: str, profile: Path) -> None:
        self._client = httpx.Client(base_url=url, timeout=LONG)
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

    def tell_later(self, script: str) -> Any:
        """Return what the page hands to the script's last argument."""
        return self._post(f"{self._session}/execute/async", {"script": script, "args": []})

    def press(self, key: str) -> None:
        """Press a key where the focus is."""
        keys = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        actions = [{"type": "key", "id": "keyboard", "actions": keys}]
        self._post(f"{self._session}/actions", {"actions": actions})

    def look(self, width: int, scheme: str) -> None:
        """Be a window of a width, for one who likes it light or dark."""
        size = {"width": width, "height": 840, "deviceScaleFactor": 1, "mobile": False}
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._order("Emulation.setDeviceMetricsOverride", size)
        self._order("Emulation.setEmulatedMedia", {"features": features})

    def picture(self) -> bytes:
        """Return what is seen, as a PNG."""
        answer = self._client.get(f"{self._session}/screenshot")
        assert answer.status_code == 200, answer.text
        return b64decode(answer.json()["value"])

    def at_start(self, script: str) -> str:
        """Run a script in each page before its own; return the name under which that ends."""
        given = {"source": script}
        return str(self._order("Page.addScriptToEvaluateOnNewDocument", given)["identifier"])

    def at_start_no_more(self, identifier: str) -> None:
        """Run it no more."""
        self._order("Page.removeScriptToEvaluateOnNewDocument", {"identifier": identifier})

    def _order(self, command: str, parameters: dict[str, Any]) -> Any:
        """Give an order of Chromium's own protocol."""
        body = {"cmd": command, "params": parameters}
        return self._post(f"{self._session}/goog/cdp/execute", body)

    def complaints(self) -> list[str]:
        """What the page's console holds against it."""
        entries = self._post(f"{self._session}/se/log", {"type": "browser"})
        return [each["message"] for each in entries if each["level"] in ("SEVERE", "WARNING")]

    def close(self) -> None:
        """End it."""
        self._client.delete(self._session)
        self._client.close()


@contextmanager
def driving() -> Iterator[str]:
    """Run Chromium's driver on a port that it finds free; its address."""
    command = [str(DRIVER), "--port=0", "--log-level=SEVERE"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        try:
            assert driver.stdout is not None
            said = (re.search(r"successfully on port (\d+)", line) for line in driver.stdout)
            yield f"http://127.0.0.1:{next(filter(None, said))[1]}"
        finally:
            driver.terminate()


def count(browser: Browser, css: str) -> int:
    """How many elements there are that can be seen."""
    shown = f"[...document.querySelectorAll({css!r})].filter((e) => e.checkVisibility())"
    return int(browser.tell(f"return {shown}.length"))


def serious(browser: Browser) -> list[str]:
    """What axe-core holds against the page as it is, of serious and of critical impact."""
    if not browser.tell("window.held = null; return Boolean(window.axe)"):
        browser.tell((files("axe_playwright_python") / "axe.min.js").read_text())
    wanted = "{ resultTypes: ['violations'] }"
    browser.tell(f"axe.run({wanted}).then((r) => {{ window.held = r.violations; }})")
    found = until(lambda: browser.tell("return window.held && [window.held]"))[0]
    return [
        f"{each['id']}: {[node['html'][:120] for node in each['nodes']][:3]}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
