"""A browser for tests of the page, told what to do over the WebDriver protocol."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
AXE = Path(__file__).resolve().parents[2] / "node_modules/axe-core/axe.min.js"
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

    def press(self, key: str) -> None:
        """Press a key where the focus is."""
        keys = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        actions = [{"type": "key", "id": "keyboard", "actions": keys}]
        self._post(f"{self._session}/actions", {"actions": actions})

    def look(self, width: int, scheme: str) -> None:
        """Be a window of a width, for one who likes it light or dark."""
        size = {"width": width, "height": 840, "deviceScaleFactor": 1, "mobile": False}
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        for command, parameters in (
            ("Emulation.setDeviceMetricsOverride", size),
            ("Emulation.setEmulatedMedia", {"features": features}),
        ):
            body = {"cmd": command, "params": parameters}
            self._post(f"{self._session}/goog/cdp/execute", body)

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


def answers(url: str) -> bool:
    """Whether a server does."""
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def count(browser: Browser, css: str) -> int:
    """How many elements there are that can be seen."""
    shown = f"[...document.querySelectorAll({css!r})].filter((e) => e.checkVisibility())"
    return int(browser.tell(f"return {shown}.length"))


def serious(browser: Browser) -> list[str]:
    """What axe-core holds against the page as it is; nothing is known where it is not installed."""
    if not AXE.exists():
        return []
    browser.tell(f"if (!window.axe) {{ {AXE.read_text()} }}")
    browser.tell("window.held = null; axe.run().then((r) => { window.held = r.violations; })")
    found = until(lambda: browser.tell("return window.held && [window.held]"))[0]
    return [
        f"{each['id']}: {[node['html'][:120] for node in each['nodes']][:3]}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
