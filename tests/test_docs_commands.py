"""Every command line of the docs is one that the command line takes; it is parsed, not run."""

import re
import shlex
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from api.cli.main import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "deploy/README.md"])
AT = re.compile(r"^(?:\$ )?(?:\S*/)?dejavu-engine (.+)$", re.M)
USAGE = re.compile(r"[a-z -]+? {2,}[A-Z]|[a-z-]+( [a-z-]+)? [A-Z]\w+ [a-z]+ ")  # as --help tells it
BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.M | re.S)


def lines(page: Path) -> Iterator[str]:
    """Yield the command lines in a page's blocks, those that go on over a line joined."""
    for block in BLOCK.findall(page.read_text()):
        found = AT.findall(block.replace("\\\n", " "))
        yield from (line for line in found if not USAGE.match(line))


def fault(line: str) -> str | None:
    """Say what is wrong with a command line."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return None  # a statement that goes on over lines
    words = list(takewhile(lambda word: not re.match(r"[0-9]?[|>&]", word), words))
    command: Any = get_command(app)
    context = command.context_class(command, info_name="dejavu-engine")
    while (below := getattr(command, "commands", None)) and words:
        if words[0].startswith("-"):
            return None  # a flag of the whole
        if words[0] not in below:
            return f"no command {words[0]}"
        command = below[words.pop(0)]
        context = command.context_class(command, parent=context)
    if "--help" in words or below:
        return None
    try:
        given, rest, _ = command.make_parser(context).parse_args(args=words)
    except Exception as error:  # noqa: BLE001  # of whichever click typer has
        return str(error)
    lacks = [p.name for p in command.params if p.required and given.get(p.name) in (None, ())]
    return f"too much: {rest}" if rest else f"lacks {lacks}" if lacks else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_line_is_taken(page: Path) -> None:
    wrong = {line: said for line in lines(page) if (said := fault(line))}
    assert wrong == {}


def test_a_wrong_line_is_seen() -> None:
    assert fault("eval nextqa --hlep")
    assert fault("quarry 'a dog'")
    assert fault("query 'a dog' --colour red")
    assert fault("eval all --dataset nextqa one two three")
    assert fault("query 'a dog' --top 3") is None
    assert sum(len(list(lines(page))) for page in PAGES) > 30
