"""Every view, wide and narrow, light and dark: it fits, and axe-core finds nothing serious."""

from contextlib import suppress
from urllib.parse import urlencode

import pytest

from tests.api.browser import Browser, count, serious, until

LOOKS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
PLAN = urlencode({"q": "SELECT name FROM frames JOIN videos USING (video_id)", "explain": 1})
FOLDS = "document.querySelectorAll('main details').forEach((e) => { e.open = true; })"
FEW = "[...document.querySelectorAll('details')].slice(0, 5).forEach((e) => { e.open = true; })"
WIDE = "document.querySelectorAll('.tile').forEach((e) => { e.style.setProperty('--shape', 3); })"
# an address, what is there once it is drawn, and what is done then to see more of it
VIEWS = [
    ("#find", "#home-grid .video", FOLDS),
    ("#find?q=a+star", "#find-results .strip .line", ""),
    ("#find?q=a+star&where=none+%3D+1", "#find-said.bad", ""),
    ("#find?q=a+star&group=frame", "#find-results .card", "find('#find-results .card').click()"),
    ("#ask?q=what+colour+is+the+circle?", "#ask-answer h2", ""),
    ("#sql?q=SELECT+video_id,seconds+FROM+frames", "#sql-results tbody td", FOLDS),
    (f"#sql?{PLAN}", ".tree .operator", ""),
    ("#sql?q=SELECT", "#sql-said.bad", ""),
    ("#videos", "#video-list .remove", FOLDS),
    ("#video?id=1", ".activity .line", WIDE),
    ("#video?id=99", "#video-said.bad", "find('#key').click()"),
    ("#settings", ".model-card table", ""),
    ("docs", ".endpoint", FEW),
]


def test_axe_finds_what_is_wrong(browser: Browser, url: str) -> None:
    browser.open(f"{url}#ask")
    browser.tell(
        "const pale = Object.assign(document.createElement('p'), { textContent: 'pale' });"
        "pale.style.color = 'color-mix(in srgb, #fff, #bbb)';"
        "document.querySelector('main').append(pale, document.createElement('input'));"
    )
    assert {each.split(":")[0] for each in serious(browser)} == {"label", "color-contrast"}


def overflowing(browser: Browser) -> list[str]:
    """How much wider the page is than what is seen of it, where it stays so."""
    sizes = "const page = document.documentElement; return [page.scrollWidth, page.clientWidth]"
    with suppress(AssertionError):  # lists are laid out anew after the window has changed
        until(lambda: int.__le__(*browser.tell(sizes)))
        return []
    wide, seen = browser.tell(sizes)
    return [f"{wide} of {seen} pixels"]


@pytest.mark.parametrize(("address", "ready", "more"), VIEWS, ids=[view[0] for view in VIEWS])
def test_a_view_fits_and_is_accessible(
    browser: Browser, url: str, address: str, ready: str, more: str
) -> None:
    browser.open(url + address)
    until(lambda: count(browser, ready))
    browser.tell(f"const find = (css) => document.querySelector(css); {more}")
    found = []
    for width, scheme in LOOKS:
        browser.look(width, scheme)
        until(lambda: browser.tell("return document.getAnimations().length") == 0)
        found += overflowing(browser)
        found += [f"{width}, {scheme}: {each}" for each in serious(browser)]
    browser.look(320, "light")  # what is enlarged fourfold, and the smallest phones
    found += overflowing(browser)
    assert found == []
    assert all("Failed to load resource" in each for each in browser.complaints())  # refused above
