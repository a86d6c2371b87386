"""The page in a browser: each of its paths."""

from pathlib import Path
from urllib.parse import urlencode

import pytest

from api.app import create_app
from api.config import ServerSettings
from engine.session import Engine
from tests.api.browser import Browser, count, get, post, until
from tests.api.conftest import Made, serving


def test_find_and_play(browser: Browser, url: str, made: Made) -> None:
    browser.open(url)
    assert until(lambda: count(browser, "#home-grid .video")) == 2
    browser.write("#find-form input[name=text]", made.text)
    browser.click("#find-form button")
    until(lambda: count(browser, "#find-results .strip .line"))
    picture = "return document.querySelector('#find-results img')?.naturalWidth"
    assert until(lambda: browser.tell(picture)) > 0
    browser.click("#find-results .card")
    playing = "const v = document.querySelector('video'); return v.currentTime * !v.error"
    until(lambda: browser.tell(playing))
    assert browser.tell("return document.querySelector('video').videoWidth") == 96
    assert until(lambda: count(browser, "#timeline .line")) == 1
    assert count(browser, "#timeline .peak") == 1
    address = browser.tell("return location.hash")
    assert "at=" in address
    browser.open("about:blank")
    browser.open(url + address)  # a link brings another one to the same moment
    until(lambda: browser.tell("return document.querySelector('#player').open"))
    browser.press("\ue014")  # right: the next moment
    told = "return document.querySelector('#player-facts').textContent"
    until(lambda: "2 of" in browser.tell(told))
    assert browser.tell("return location.hash") != address
    browser.tell("document.querySelector('#player').click()")  # the backdrop
    assert not browser.tell("return document.querySelector('#player').open")
    browser.open(url)
    until(lambda: count(browser, "#recent-list .chip"))


def test_the_player_opens_at_the_peak_and_steps(browser: Browser, url: str, made: Made) -> None:
    browser.open(f"{url}#find?{urlencode({'q': made.text, 'top': 24})}")
    until(lambda: count(browser, "#find-results .card"))
    found = post(f"{url}query", json={"text": made.text, "top_k": 24}).json()["moments"]
    at = max(range(len(found)), key=lambda place: found[place]["peak_seconds"])
    browser.tell(
        "window.first = null; const v = document.querySelector('video');"
        "v.addEventListener('seeking', () => { window.first ??= v.currentTime; });"
        f"document.querySelectorAll('#find-results .card')[{at}].click()"
    )
    peak = found[at]["peak_seconds"]
    assert peak > 0
    assert until(lambda: browser.tell("return window.first")) == pytest.approx(peak, abs=0.05)
    browser.tell("document.querySelector('video').pause()")
    before = browser.tell("return document.querySelector('video').currentTime")
    browser.click("#back-frame")
    until(lambda: browser.tell("return !document.querySelector('video').seeking"))
    after = browser.tell("return document.querySelector('video').currentTime")
    fps = get(f"{url}videos/{found[at]['video_id']}").json()["fps"]
    assert before - after == pytest.approx(1 / fps, abs=0.01)


def test_an_open_tab_follows_its_address(browser: Browser, url: str) -> None:
    browser.open(f"{url}#find?q=a+star&top=3&video=one*")
    until(lambda: count(browser, "#find-results .card"))
    names = "return [...document.querySelectorAll('#find-results .name')].map((e) => e.textContent)"
    assert set(browser.tell(names)) == {"one.mp4"}
    browser.tell("location.hash = '#find?q=a+star&top=3&video=two*'")
    until(lambda: set(browser.tell(names)) == {"two.mp4"})
    browser.tell("history.back()")
    until(lambda: set(browser.tell(names)) == {"one.mp4"})
    browser.tell("location.hash = '#find?q=a+star&video=none*'")
    until(lambda: count(browser, "#find-said.bad"))
    assert browser.tell(names) == []  # nothing old below an error
    assert ["404" in each for each in browser.complaints()] == [True]


def test_more_like_a_frame(browser: Browser, url: str) -> None:
    browser.open(f"{url}#find?like=2@1.000&group=frame")
    until(lambda: count(browser, "#find-results .card"))
    first = "return document.querySelector('#find-results .name').textContent"
    assert browser.tell(first) == "two.mp4"
    assert count(browser, "#subject img") == 1


def test_a_hundred_thousand_rows(browser: Browser, url: str) -> None:
    script = (
        "const { table } = await import('/web/table.js');"
        "const rows = Array.from({ length: 100000 }, (_, n) => ({ n, text: `row ${n}` }));"
        "const node = table(['n', 'text'], rows);"
        "document.querySelector('#sql-results').replaceChildren(node);"
        "node.scrollTop = node.scrollHeight;"
    )
    browser.open(f"{url}#sql?q=SELECT+video_id,seconds+FROM+frames")
    until(lambda: count(browser, "#sql-results tbody tr:not(.gap)"))
    browser.tell(f"(async () => {{ {script} }})()")
    last = "return document.querySelector('#sql-results tbody tr:nth-last-child(2)')?.textContent"
    until(lambda: browser.tell(last) == "99999row 99999")
    assert count(browser, "#sql-results tr") < 200


def test_tabs_go_by_the_arrows(browser: Browser, url: str) -> None:
    browser.open(url)
    browser.tell("document.querySelector('#tab-find').focus()")
    browser.press("\ue014")
    until(lambda: browser.tell("return location.hash") == "#ask")
    assert browser.tell("return document.activeElement.id") == "tab-ask"
    assert until(lambda: count(browser, "#ask-form")) == 1


def test_a_failed_job_is_red_and_can_be_tried_again(
    browser: Browser, own_engine: Engine, tmp_path: Path
) -> None:
    settings = ServerSettings()
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    own_engine.store.catalog.add_job("ingest", {"paths": [str(broken)], "options": {}})
    with serving(create_app(own_engine, settings), settings) as port:
        browser.open(f"http://127.0.0.1:{port}/#videos")
        until(lambda: count(browser, "#job-list .job .bad"))
        retry = "return document.querySelector('#job-list .tools button').textContent"
        assert browser.tell(retry) == "Retry"
        name = "return document.querySelector('#job-list strong').textContent"
        assert browser.tell(name) == "broken.mp4"


def test_a_video_without_its_file_is_marked(
    browser: Browser, own_engine: Engine, made: Made
) -> None:
    settings = ServerSettings()
    with serving(create_app(own_engine, settings), settings) as port:
        (made.clips / "one.mp4").rename(made.clips / "away.mp4")
        try:
            browser.open(f"http://127.0.0.1:{port}/#videos")
            gone = (
                "return [...document.querySelectorAll('#video-list .video:has(.tag.gone) .name')]"
            )
            named = f"{gone}.map((e) => e.textContent)"
            until(lambda: "one.mp4" in browser.tell(named))
            assert "two.mp4" not in browser.tell(named)
        finally:
            browser.open("about:blank")  # nothing more is asked of a server that goes
            (made.clips / "away.mp4").rename(made.clips / "one.mp4")


def test_a_role_is_offered_what_it_may(browser: Browser, engine: Engine) -> None:
    settings = ServerSettings(api_keys="read:look-1,write:change-1")
    with serving(create_app(engine, settings), settings) as port:
        for key, offered in (("look-1", 0), ("change-1", 2)):
            browser.open(f"http://127.0.0.1:{port}/docs")
            browser.tell(f"sessionStorage.setItem('key', '{key}')")
            browser.open(f"http://127.0.0.1:{port}/#videos")
            assert until(lambda: count(browser, "#video-list .video")) == 2
            assert count(browser, "#video-list .remove") == offered
            assert count(browser, "#upload-form") == (1 if offered else 0)


def test_a_video_that_somebody_else_removed_goes(browser: Browser, own_engine: Engine) -> None:
    settings = ServerSettings()
    with serving(create_app(own_engine, settings), settings) as port:
        browser.open(f"http://127.0.0.1:{port}/#videos")
        there = until(lambda: count(browser, "#video-list .video"))
        own_engine.remove(1)
        browser.tell("window.confirm = () => true")
        browser.click("#video-list .video[data-id='1'] .remove")
        until(lambda: count(browser, "#video-list .video") == there - 1)
        said = "return document.querySelector('#videos-said').textContent"
        until(lambda: "no video 1" in browser.tell(said))
        assert all("404" in each for each in browser.complaints())  # which the page has told
        browser.open("about:blank")  # nothing more is asked of a server that goes
