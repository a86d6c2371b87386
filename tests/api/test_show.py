"""What is printed is what was stored."""

import io

import pytest
from rich.console import Console

from api.cli import show


def test_brackets_in_a_name_are_no_markup(monkeypatch) -> None:
    text = io.StringIO()
    monkeypatch.setattr(show, "out", Console(file=text, width=80, highlight=False))
    show.print_table(("video", "size"), [("clip[1].mp4", 3), ("[bold]x[/].mp4", None)])
    assert "clip[1].mp4" in text.getvalue()
    assert "[bold]x[/].mp4" in text.getvalue()


def test_names_of_files_steer_no_terminal(monkeypatch) -> None:
    text = io.StringIO()
    monkeypatch.setattr(show, "out", Console(file=text, width=80, highlight=False))
    show.print_table(("video",), [("red\x1b[31m.mp4",), ("two\nlines\r.mp4",), ("Été 漢.mp4",)])
    show.print_reasons([("bell\x07.mp4", "is empty")])
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    shown = [r"red\x1b[31m.mp4", r"two\nlines\r.mp4", "Été 漢.mp4", r"bell\x07.mp4: is empty"]
    assert lines == ["video", *shown]


def test_json_has_no_word_for_not_a_number() -> None:
    assert show.plain({"a": float("nan"), "b": (1, 2.5, "x")}) == {"a": None, "b": [1, 2.5, "x"]}


def test_what_people_read_steps_aside_for_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    with show.aside(True):
        show.out.print("told to people")
    show.out.print("told as usual")
    read = capsys.readouterr()
    assert (read.out, read.err) == ("told as usual\n", "told to people\n")
