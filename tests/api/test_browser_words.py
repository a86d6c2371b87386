"""The page in another language: all that is read comes from its words or from the server."""

import re
from collections.abc import Iterator

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from api.app import create_app
from api.config import ServerSettings
from engine.session import Engine
from tests.api.browser import Browser, count, until
from tests.api.conftest import serving
from tests.api.test_browser_looks import VIEWS
from tests.api.test_words import TABLE, WORDS

NAMES = {"dejavu", "engine", "ingest", "FOLDER", "DELETE", "AM", "PM"}  # the clock's too
HEARD = """
window.heard = [];
const real = window.fetch;
window.fetch = async (...asked) => {
  const answer = await real(...asked);
  if (!/image|video/.test(answer.headers.get('content-type'))) {
    answer.clone().text().then((text) => window.heard.push(text), () => {});
  }
  return answer;
};
"""
READ = """
const shown = [document.title];
for (const e of document.querySelectorAll('body *')) {
  if (!e.checkVisibility() || ['SCRIPT', 'NOSCRIPT', 'OPTION'].includes(e.tagName)) continue;
  for (const n of e.childNodes) if (n.nodeType === 3) shown.push(n.textContent);
  for (const name of ['title', 'placeholder', 'aria-label', 'alt']) {
    shown.push(e.getAttribute(name) ?? '');
  }
}
const written = [...document.querySelectorAll('textarea')].map((e) => e.value);
return [shown, [...window.heard, ...written]];
"""


def in_other_words() -> str:
    """Return the page's words with each letter another, their {names} as they are."""

    def other(said: re.Match[str]) -> str:
        return re.sub(r"\{\w+\}|\\.|[A-Za-z]", lambda m: "ж" if len(m[0]) == 1 else m[0], said[0])

    table = re.sub(
        r'^(  "[a-z.]+": )(.*)$',
        lambda line: line[1] + re.sub(r'"(?:\\.|[^"\\])*"', other, line[2]),
        TABLE,
        flags=re.M,
    )
    return WORDS.replace(TABLE, table)


def translated(app: ASGIApp) -> ASGIApp:
    """Return the application with those words on its page."""
    body = in_other_words().encode()

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/web/words.js":
            await app(scope, receive, send)
            return
        headers = [(b"content-type", b"text/javascript")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return call


@pytest.fixture(scope="module")
def abroad(engine: Engine) -> Iterator[str]:
    """A server whose page speaks that language."""
    settings = ServerSettings()
    with serving(translated(create_app(engine.load(), settings)), settings) as port:
        yield f"http://127.0.0.1:{port}/"


def test_all_that_is_read_is_said_in_the_other_language(browser: Browser, abroad: str) -> None:
    heard = browser.at_start(HEARD)
    untold = {}
    try:
        for address, ready, more in VIEWS:
            browser.open("about:blank")
            browser.open(abroad + address)
            until(lambda ready=ready: count(browser, ready))
            browser.tell(f"const find = (css) => document.querySelector(css); {more}")
            shown, answers = browser.tell(READ)
            known = set(re.findall("[A-Za-z]+", " ".join([address, *answers]))) | NAMES
            words = set(re.findall("[A-Za-z]{2,}", " ".join(shown))) - known
            untold |= {address: words} if words else {}
            assert any("ж" in each for each in shown)
            assert not any("undefined" in each or "{" in each for each in shown if "ж" in each)
    finally:
        browser.at_start_no_more(heard)
        browser.complaints()  # of what was refused
    assert untold == {}
