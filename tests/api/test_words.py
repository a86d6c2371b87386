"""The words of the page: each has a key in one place, and nothing that is read stands elsewhere."""

import re
from html.parser import HTMLParser
from pathlib import Path

WEB = Path(__file__).resolve().parents[2] / "api/web"
WORDS = (WEB / "words.js").read_text()
TABLE = WORDS[WORDS.index("const en = {") : WORDS.index("\n};")]
KEYS = set(re.findall(r'^  "([a-z.]+)": ', TABLE, re.M))
SCRIPTS = {path.name: path.read_text() for path in WEB.glob("*.js") if path.name != "words.js"}
PAGES = {path.name: path.read_text() for path in WEB.glob("*.html")}
KEY = re.compile(r"[a-z]+(\.[a-z]+)+")
SHOWN = {"title", "placeholder", "aria-label", "alt"}
# a piece of JavaScript: a comment, a string, or a template, whose code inside is read on its own
PIECE = re.compile(
    r"//[^\n]*|/(?![/*\s])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n])+/[a-z]*(?=[.,;) ])"
    r'|"((?:\\.|[^"\\\n])*)"|`((?:\\.|[^`\\$]|\$(?!\{)|\$\{(?:[^{}`]|\{[^{}]*\}|`[^`]*`)*\})*)`'
)
CODE = re.compile(r"\$\{((?:[^{}`]|\{[^{}]*\}|`[^`]*`)*)\}")
# what people do not read: names of classes and headers, selectors, statements, keys, media types
UNREAD = re.compile(
    r"SELECT .*|moments\(.*|\[A-Za-z.*|SHOW TABLES|DESCRIBE .*|TIMESTAMP .*| AND |Bearer .*"
    r"|Detect|Content-Type|Accept|Authorization"
    r"|Arrow(Left|Right|Up|Down)|Home|End|PageUp|PageDown|Enter|Escape|DELETE|POST|GET|BUTTON"
    r"|recorded_at .*|0 0 .*|M.*Z?| ?L|\[[\w-]+\]|dejavu-[\w-]+( ingest FOLDER)?|none.*|is-.*"
)


def literals(code: str) -> list[tuple[str, str]]:
    """Return the strings of a script with what stands before each; templates without their code."""
    found = []
    for piece in PIECE.finditer(code):
        plain, template = piece.groups()
        before = code[max(0, piece.start() - 40) : piece.start()]
        if plain is not None:
            found.append((before, plain))
        if template is not None:
            found.append((before, CODE.sub("", template)))
            for inner in CODE.findall(template):
                found += literals(inner)
    return found


def test_each_key_is_said_and_each_that_is_said_is_known() -> None:
    said = {text for code in SCRIPTS.values() for _, text in literals(code)}
    marked = {
        key for page in PAGES.values() for key in re.findall(r' data-t(?:-[a-z]+)?="([^"]+)"', page)
    }
    made = {  # `state.${…}` and `${…}.label`
        re.compile(
            re.sub(r"^<>", "[a-z.]+", re.sub(r"\$\{.*?\}", "<>", text)).replace("<>", "[a-z]+")
        )
        for code in SCRIPTS.values()
        for text in re.findall(r"`((?:[a-z]+\.)+\$\{\w[\w.]*\}|\$\{\w+\}(?:\.[a-z]+)+)`", code)
    }
    assert made, "none of the keys is put together"
    unsaid = {
        key for key in KEYS - said - marked if not any(pattern.fullmatch(key) for pattern in made)
    }
    assert unsaid == set()
    asked = {
        key
        for code in SCRIPTS.values()
        for call in re.findall(r"\b(?:t|parts)\(([^`{}]*?)[,)]", code)
        for key in re.findall(r'"([^"]+)"', call)
        if KEY.fullmatch(key)
    }
    assert len(asked) > 100
    assert (asked | marked) - KEYS == set()


def test_nothing_that_is_read_stands_in_a_script() -> None:
    loose = []
    for file, code in SCRIPTS.items():
        for before, text in literals(re.sub(r"^import .*$", "", code, flags=re.M)):
            prose = re.search(r"[A-Z][a-z]|[a-z] [a-z]", text)
            unread = UNREAD.fullmatch(text) or re.search(
                r"(class(Name|List)?\S*|querySelector(All)?\(|closest\(|matchMedia\(|createElementNS\()"
                r"\W*[^,;]*$|new RegExp\($",
                before,
            )
            if prose and not unread:
                loose.append(f"{file}: {text}")
    assert loose == []


class Reader(HTMLParser):
    """Collects what a document shows of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: list[str] = []
        self.shown: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside.append(tag)
        self.shown += [value for name, value in attrs if name in SHOWN and value]

    def handle_endtag(self, tag: str) -> None:
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if re.search("[A-Za-z]", data) and "noscript" not in self.inside:
            self.shown.append(data.strip())


def test_nothing_that_is_read_stands_in_a_document() -> None:
    for file, page in PAGES.items():
        reader = Reader()
        reader.feed(page)
        words = {each for each in reader.shown if re.search(r"[A-Za-z]{2}", each)}  # no keys
        assert words - {"dejavu", "-engine"} == set(), file
