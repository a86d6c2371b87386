"""The page in depth: a video's own page, plans, kept statements, filters, odd names, no server."""

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pyarrow.parquet as pq
import pytest

from api.app import create_app
from api.config import ServerSettings
from engine.session import Engine
from tests.api.browser import Browser, count, get, post, until
from tests.api.conftest import Made, serving

EVIL = "<img src=x onerror=window.hacked=1>"
BACKWARDS = "\u202egnp.mp4"  # reads as 4pm.png
ENTER, RIGHT, END, TAB = "\ue007", "\ue014", "\ue010", "\ue004"


def text(browser: Browser, css: str) -> str:
    """What stands in an element, nothing where it is not there."""
    return str(browser.tell(f"return document.querySelector({css!r})?.textContent ?? ''"))


@pytest.fixture(scope="module")
def odd(own_engine: Engine, made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on a store with a video of a hostile name, and something hostile said of it."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "empty.mp4").touch()
    own_engine.ingest(folder / "empty.mp4")
    path = folder / f"{EVIL.replace('/', '')} 'a\"&b;%23 é漢{BACKWARDS}"
    shutil.copy(made.clips / "one.mp4", path)
    path.write_bytes(path.read_bytes() + b"\0" * 40)
    own_engine.ingest(path, fps=2, strategy="dense")
    own_engine.tag(path.name, {"note": EVIL})
    settings = ServerSettings()
    with serving(create_app(own_engine.load(), settings), settings) as port:
        yield f"http://127.0.0.1:{port}/"


def test_the_page_of_a_video(browser: Browser, url: str) -> None:
    browser.open(f"{url}#videos")
    until(lambda: count(browser, "#video-list .video"))
    browser.click("#video-list .video a.name")
    until(lambda: count(browser, ".filmstrip .tile"))
    until(lambda: count(browser, ".activity .line"))
    assert text(browser, "#video-title") == "one.mp4"
    until(lambda: "rows" in text(browser, ".fact-card:nth-child(2) dd"))
    frames = post(f"{url}sql", json={"sql": "SELECT * FROM frames WHERE video_id = 1"})
    rows = len(frames.json()["rows"])
    assert text(browser, ".fact-card:nth-child(2) dd").startswith(f"{rows} rows")
    assert browser.tell("return location.hash") == "#video?id=1"
    assert browser.tell("return document.querySelector('#tab-videos').ariaSelected") == "true"
    browser.tell("document.querySelector('.scrubber').focus()")
    shown = "return getComputedStyle(document.querySelector('.big-tile .tile')).backgroundPosition"
    first = browser.tell(shown)
    browser.press(END)
    assert browser.tell(shown) != first
    value = "return Number(document.querySelector('.scrubber').getAttribute('aria-valuenow'))"
    assert browser.tell(value) == pytest.approx(3.95, abs=0.06)
    browser.press(ENTER)  # plays from there
    until(lambda: browser.tell("return document.querySelector('#player').open"))
    assert "at=1%40" in browser.tell("return location.hash")
    browser.click("#player-close")
    assert count(browser, ".filmstrip .tile") == 12  # the page stays as it was
    box = "document.querySelector('.big-tile .tile').getBoundingClientRect()"
    for width, shape in ((1280, 3), (390, 3), (1280, 0.5), (390, 0.5)):  # nothing is squeezed
        browser.look(width, "light")
        browser.tell(
            f"document.querySelector('.big-tile .tile').style.setProperty('--shape', {shape})"
        )
        wide, high = browser.tell(f"const box = {box}; return [box.width, box.height]")
        assert wide > 100
        assert wide / high == pytest.approx(shape, rel=0.01)
    browser.look(1280, "light")


def test_what_is_said_of_a_video_is_a_filter(browser: Browser, odd: str) -> None:
    browser.open(f"{odd}#video?id=2")
    until(lambda: count(browser, ".fact-card form"))
    browser.write(".fact-card input[name=column]", "camera")
    browser.write(".fact-card input[name=value]", "it's north")
    browser.click(".fact-card form button")
    until(lambda: "it's north" in text(browser, ".said-of-it"))
    state = {"q": "a star", "where": "camera = 'it''s north'", "top": 60}
    browser.open("about:blank")
    browser.open(f"{odd}#find?{urlencode(state)}")
    until(lambda: count(browser, "#find-results .card"))
    names = "return [...document.querySelectorAll('#find-results .name')].map((e) => e.textContent)"
    assert set(browser.tell(names)) == {"two.mp4"}
    browser.tell("location.hash = '#find?q=a+star&until=1990-01-01'")
    until(lambda: text(browser, "#find-said") == "No video meets the filters.")


def test_a_plan_is_a_tree(browser: Browser, url: str) -> None:
    sql = "SELECT seconds FROM frames WHERE CLIP_MATCH(frame, 'a star') > -1 ORDER BY seconds"
    browser.open(f"{url}#sql?{urlencode({'q': sql, 'explain': 1})}")
    until(lambda: count(browser, ".tree .operator"))
    told = post(f"{url}explain", json={"sql": sql}).json()

    def operators(node: dict) -> list[str]:
        return [
            node["operator"],
            *(name for child in node["children"] for name in operators(child)),
        ]

    listed = "return [...document.querySelectorAll('.tree strong')].map((e) => e.textContent)"
    assert browser.tell(listed) == operators(told["plan"])
    open_ = count(browser, ".tree li")
    browser.tell("document.querySelector('.tree summary').click()")
    assert count(browser, ".tree li") < open_


def test_rows_are_taken_home(browser: Browser, url: str) -> None:
    browser.open(f"{url}#sql?q=SELECT+video_id,+seconds+FROM+frames+ORDER+BY+ALL")
    until(lambda: count(browser, "#sql-save button"))
    browser.tell(
        "window.taken = {}; const make = URL.createObjectURL;"
        "URL.createObjectURL = (blob) => { window.last = blob; return make(blob); };"
        "HTMLAnchorElement.prototype.click = function () { const name = this.download;"
        " window.last.arrayBuffer()"
        ".then((b) => { window.taken[name] = [...new Uint8Array(b)]; }); };"
    )
    browser.click("#sql-save [data-form=parquet]")
    content = bytes(until(lambda: browser.tell("return window.taken['rows.parquet']")))
    rows = post(
        f"{url}sql", json={"sql": "SELECT video_id, seconds FROM frames ORDER BY ALL"}
    ).json()["rows"]
    assert pq.read_table(io.BytesIO(content)).to_pylist() == rows
    browser.click("#sql-save [data-form=csv]")
    lines = bytes(until(lambda: browser.tell("return window.taken['rows.csv']"))).decode()
    assert len(lines.splitlines()) == len(rows) + 1


def test_a_hundred_thousand_rows_from_the_server(browser: Browser, url: str) -> None:
    """They come in pieces, between which the page does what else there is to do."""
    sql = "SELECT range AS n, 'row ' || range AS name, range * 0.5 AS half FROM range(100000)"
    browser.open(f"{url}#sql")
    browser.tell(
        "window.turns = 0; setInterval(() => { window.turns += 1; }, 0);"
        f"location.hash = '#sql?' + new URLSearchParams({{ q: {json.dumps(sql)} }})"
    )
    said = "#sql-said"
    until(lambda: "100,000 rows in" in text(browser, said))
    assert browser.tell("return window.turns") > 20
    browser.tell("const f = document.querySelector('.rows'); f.scrollTop = f.scrollHeight")
    until(lambda: "99999" in text(browser, "#sql-results tbody tr:nth-last-child(2)"))
    assert count(browser, "#sql-results tr") < 200


def test_statements_are_kept(browser: Browser, url: str) -> None:
    browser.open(f"{url}#sql?q=SELECT+41+%2B+1+AS+n")
    until(lambda: "42" in text(browser, "#sql-results tr:not(.gap) td"))
    browser.tell("document.querySelector('#sql-kept').open = true")
    browser.write("#keep-form input", f"answer {EVIL}")
    browser.click("#keep-form button")
    browser.open("about:blank")
    browser.open(f"{url}#sql")
    browser.tell("document.querySelector('#sql-kept').open = true")
    until(lambda: text(browser, "#saved-list .link") == f"answer {EVIL}")
    until(lambda: "41" in text(browser, "#history-list .link"))
    browser.click("#saved-list .link")
    assert browser.tell("return document.querySelector('#sql-form').sql.value") == (
        "SELECT 41 + 1 AS n"
    )
    browser.click("#saved-list .link:last-child")
    until(lambda: "Nothing is saved" in text(browser, "#saved-list"))


def test_numbers_are_shown_as_they_are(browser: Browser, url: str) -> None:
    sql = "SELECT 1e-9 AS tiny, 9007199254740993 AS large, -0.25 AS plain, 0.0 AS none"
    browser.open(f"{url}#sql?{urlencode({'q': sql})}")
    row = "return [...document.querySelectorAll('#sql-results td')].map((e) => e.textContent)"
    until(lambda: "-0.25" in browser.tell(row))
    shown = [cell for cell in browser.tell(row) if cell]
    assert shown == ["1.0e-9", "9007199254740993", "-0.25", "0"]


def test_relations_are_at_hand(browser: Browser, url: str) -> None:
    browser.open(f"{url}#sql")
    browser.tell("document.querySelector('#sql-form').sql.value = ''")
    browser.tell("document.querySelector('#sql-schema').open = true")
    known = post(f"{url}sql", json={"sql": "SHOW TABLES"}).json()["rows"]
    until(lambda: count(browser, "#schema-list .relation") == len(known) > 4)
    browser.tell(
        "[...document.querySelectorAll('#schema-list .chip')]"
        ".find((e) => e.textContent === 'recorded_at').click()"
    )
    assert browser.tell("return document.querySelector('#sql-form').sql.value") == "recorded_at"


def test_rows_that_rest_on_a_guess_say_so(browser: Browser, url: str) -> None:
    sql = "SELECT CLIP_MATCH(frame, 'a dog') AS score FROM frames LIMIT 3"
    said = post(f"{url}sql", json={"sql": sql}).json()["caution"]
    assert said
    browser.open(f"{url}#sql?{urlencode({'q': sql})}")
    until(lambda: said in text(browser, "#sql-said"))
    browser.tell("location.hash = '#sql?q=SELECT+1+AS+n'")
    until(lambda: "1 row in" in text(browser, "#sql-said"))
    assert said not in text(browser, "#sql-said")


TOLD = (
    "...[...document.querySelectorAll('main, main *')].flatMap((e) => [e.textContent, e.title,"
    " e.alt, e.ariaLabel])"
)


def test_names_and_values_are_text(browser: Browser, odd: str) -> None:
    rows = "#sql-results tbody tr:not(.gap)"
    sql = f"SELECT '{EVIL}' AS \"{EVIL}\", video_id, 0.0 AS seconds, name FROM videos ORDER BY ALL"
    named = get(f"{odd}videos").json()["videos"][-1]
    told = ""
    for address, ready in (
        ("#find", "#home-grid .video:nth-child(3)"), ("#videos", "#video-list .video:nth-child(3)"),
        (f"#find?{urlencode({'q': EVIL, 'video': '<img*'})}", "#find-results .card"),
        (f"#video?id={named['id']}", ".filmstrip .tile"), ("#video?id=%3Cb%3E", "#video-said.bad"),
        (f"#sql?{urlencode({'q': sql})}", rows),
        (f"#sql?{urlencode({'q': EVIL})}", "#sql-said.bad"),
        (f"#ask?{urlencode({'q': EVIL, 'choices': EVIL + ',red'})}", "#ask-answer h2"),
        (f"#find?q=a+star&where={EVIL}&like={EVIL}&since={EVIL}", "#find-said.bad"),
    ):  # fmt: skip
        browser.open("about:blank")
        browser.open(odd + address)
        until(lambda ready=ready: count(browser, ready))
        assert browser.tell("return window.hacked ?? null") is None, address
        assert browser.tell("return document.querySelectorAll('img[src=x]').length") == 0, address
        told += browser.tell(f"return [document.title, {TOLD}].join()")
        assert "\u202e" not in told, address
    assert told.count(r"\u202egnp.mp4") > 10  # told by its code, in each view
    complaints = [each for each in browser.complaints() if "400" not in each]
    assert complaints == []


def test_what_an_address_cannot_mean_is_said(browser: Browser, odd: str) -> None:
    for name, given in (("group", "nope"), ("top", "0"), ("min", "zz"), ("since", "1.2.2026")):
        browser.open("about:blank")
        browser.open(f"{odd}#find?{urlencode({'q': 'a star', name: given})}")
        until(lambda: count(browser, "#find-said.bad"))
        assert text(browser, "#find-said").startswith(f"{name} is {given}; allowed: ")
        assert count(browser, "#find-results .card") == 0


def test_a_video_that_cannot_be_used_says_so_once(browser: Browser, odd: str) -> None:
    named = get(f"{odd}videos/named", params={"name": "empty.mp4"}).json()
    browser.open(f"{odd}#video?id={named['id']}")
    until(lambda: "Nothing of it can be embedded" in text(browser, "#video-body"))
    assert text(browser, "#video-body").count(named["error"]) == 1
    browser.open(f"{odd}#videos")
    until(lambda: count(browser, "#video-list .tag.quarantined"))
    words = "#video-list .tag.quarantined", "#video-list .picture.none"
    apart = (
        "const [one, other] = arguments[0].map((css) => { const words = document.createRange();"
        "words.selectNodeContents(document.querySelector(css));"
        "return words.getBoundingClientRect(); }); return one.bottom <= other.top"
    )
    assert browser.tell(apart.replace("arguments[0]", str([*words])))


def test_the_last_question_counts(browser: Browser, url: str) -> None:
    """An answer that comes late does not take the place of a later one's."""
    browser.open(f"{url}#find")
    until(lambda: count(browser, "#home-grid .video"))
    browser.tell(
        "const real = window.fetch; const waits = new Promise((done) => { window.go = done; });"
        "window.fetch = async (path, options) => {"
        " const slow = path === '/query' && options.body.includes('slow');"
        " if (slow) await waits;"
        " const answer = await real(path, options);"
        " if (slow) setTimeout(() => { window.late = true; }, 300);"  # when it has been drawn
        " return answer; };"
        "location.hash = '#find?q=slow+thing&video=one*'"
    )
    browser.tell("location.hash = '#find?q=a+star&video=two*'")
    name = "#find-results .name"
    until(lambda: text(browser, name) == "two.mp4")
    browser.tell("window.go()")
    until(lambda: browser.tell("return window.late"))
    assert text(browser, name) == "two.mp4"


def test_a_server_that_has_gone(browser: Browser, engine: Engine) -> None:
    settings = ServerSettings()
    with serving(create_app(engine, settings), settings) as port:
        browser.open(f"http://127.0.0.1:{port}/#find?q=a+star")
        until(lambda: count(browser, "#find-results .card"))
    browser.tell("location.hash = '#find?q=a+ring'")
    until(lambda: text(browser, "#find-said") == "the server does not answer")
    assert count(browser, "#find-results .card") == 0
    browser.tell("location.hash = '#video?id=1'")
    until(lambda: text(browser, "#video-said") == "the server does not answer")
    assert all("Failed to load resource" in each for each in browser.complaints())


def test_a_keyboard_is_enough(browser: Browser, url: str) -> None:
    """From the field to a playing moment and back, and each thing on the way has a name."""
    browser.open(f"{url}#find?q=a+star")
    until(lambda: count(browser, "#find-results .card"))
    browser.tell("document.querySelector('#find-results .card').focus()")
    browser.press(ENTER)
    until(lambda: browser.tell("return document.querySelector('#player').open"))
    inside = "return document.querySelector('#player').contains(document.activeElement)"
    for _ in range(4):
        browser.press(TAB)
        assert browser.tell(inside)
    browser.press("\ue00c")  # Escape
    until(lambda: not browser.tell("return document.querySelector('#player').open"))
    assert browser.tell("return document.activeElement.className") == "card"
    nameless = (
        "return [...document.querySelectorAll('button, a, input, select, textarea, [tabindex]')]"
        ".filter((e) => e.checkVisibility() && !(e.textContent.trim() || e.ariaLabel || e.title"
        " || e.labels?.length || e.querySelector('img[alt]'))).map((e) => e.outerHTML)"
    )
    for address, ready in (
        ("#find", "#home-grid .video"), ("#ask", "#ask-form"), ("#sql", "#sql-form"),
        ("#videos", "#video-list .remove"), ("#video?id=1", ".activity .line"),
    ):  # fmt: skip
        browser.tell(f"location.hash = {json.dumps(address)}")
        until(lambda ready=ready: count(browser, ready))
        assert browser.tell(nameless) == [], address


def test_what_stands_and_what_it_found(
    browser: Browser, own_engine: Engine, made: Made, tmp_path: Path
) -> None:
    clip = tmp_path / "seen.mp4"
    clip.write_bytes((made.clips / "one.mp4").read_bytes() + b"\0" * 56)
    settings = ServerSettings(video_roots=str(tmp_path))
    with serving(create_app(own_engine.load(), settings), settings) as port:
        url = f"http://127.0.0.1:{port}/"
        browser.open(f"{url}#videos")
        until(lambda: count(browser, "#video-list .video"))
        browser.click("#standing summary")
        browser.write("#standing-form input[name=name]", "shapes")
        browser.write("#standing-form input[name=text]", EVIL)
        browser.click("#standing-form button")
        until(lambda: EVIL in text(browser, "#standing-list"))
        listed = get(f"{url}standing").json()
        assert [(each["name"], each["text"]) for each in listed] == [("shapes", EVIL)]
        body = {"name": "shapes", "text": made.text, "min_score": -1}
        assert post(f"{url}standing", json=body).status_code == 201
        post(f"{url}videos", json={"path": str(clip), "strategy": "dense"})
        until(lambda: get(f"{url}alerts").json())
        browser.open("about:blank")
        browser.open(f"{url}#videos")
        browser.tell("document.querySelector('#standing').open = true")
        until(lambda: "seen.mp4" in text(browser, "#alert-list"))
        browser.click("#alert-list .link")
        until(lambda: browser.tell("return document.querySelector('#player').open"))
        assert text(browser, "#player-name") == "seen.mp4"
        until(lambda: browser.tell("return document.querySelector('video').readyState") > 1)
        browser.click("#player-close")
        browser.click("#standing-list .link")
        until(lambda: "None stands" in text(browser, "#standing-list"))
        browser.open("about:blank")
