"""Which videos `ls` and `rm` mean."""

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from api.cli import connect
from engine import Client, Engine
from tests.api.conftest import Made, Ran

Cli = Callable[..., Ran]


def names(ran: Ran) -> list[str]:
    """Return the names of what `ls` printed as JSON."""
    assert ran.code == 0, ran.err
    return [video["name"] for video in json.loads(ran.out)]


@pytest.fixture
def moved(made: Made, tmp_path: Path) -> Path:
    """A store of three registered clips; the file of one is gone."""
    for name in ("one.mp4", "two.mp4"):
        shutil.copy(made.clips / name, tmp_path / name)
    with Engine.open(tmp_path / "data", device="cpu") as engine:
        engine.register(tmp_path)
    (tmp_path / "two.mp4").unlink()
    return tmp_path / "data"


def test_videos_are_listed_by_source_and_date(cli: Cli, moved: Path) -> None:
    listed = ("videos", "ls", "--data", moved, "--json")
    assert names(cli(*listed)) == ["one.mp4", "two.mp4"]
    assert names(cli(*listed, "--gone")) == ["two.mp4"]
    assert names(cli(*listed, "--since", "2100-01-01")) == []
    assert names(cli(*listed, "--until", "2100-01-01", "--limit", 1)) == ["one.mp4"]
    assert cli(*listed, "--since", "yesterday").err.startswith(
        "error: --since 'yesterday'; expected"
    )


def test_what_is_gone_is_removed_and_nothing_else(cli: Cli, moved: Path) -> None:
    ran = cli("videos", "rm", "--gone", "--data", moved, "--json")
    assert json.loads(ran.out) == {"removed": ["two.mp4"]}
    assert names(cli("videos", "ls", "--data", moved, "--json")) == ["one.mp4"]
    assert "nothing was removed" in cli("videos", "rm", "--gone", "--data", moved).text


def test_several_are_removed_only_if_that_is_meant(cli: Cli, moved: Path) -> None:
    for arguments in ((), ("--json",)):
        ran = cli("videos", "rm", "*.mp4", "--data", moved, *arguments)
        assert ran.code == 2
        assert "2 videos are meant: one.mp4, two.mp4; --yes removes them" in ran.err
    assert cli("videos", "rm", "*.mp4", "2", "--yes", "--data", moved).code == 0
    assert names(cli("videos", "ls", "--data", moved, "--json")) == []


def test_nothing_named_is_nothing_removed(cli: Cli, moved: Path) -> None:
    assert "nothing is named" in cli("videos", "rm", "--data", moved).err
    assert cli("videos", "rm", "three.mp4", "--data", moved).code == 1
    assert len(names(cli("videos", "ls", "--data", moved, "--json"))) == 2


def test_columns_choose_videos(cli: Cli, moved: Path) -> None:
    at = ("--data", moved)
    ran = cli("videos", "set", "one.mp4", "camera=north", "lanes=2", "badge:text=007", *at)
    assert ran.text == "one.mp4: badge = 007, camera = north, lanes = 2.0\n"
    ran = cli("videos", "set", "*.mp4", "recorded_at=2026-03-01T12:00:00+01:00", *at, "--json")
    assert json.loads(ran.out)[1]["recorded_at"] == "2026-03-01 11:00:00"
    listed = ("videos", "ls", *at, "--json")
    assert names(cli(*listed, "--where", "camera = 'north' AND lanes > 1")) == ["one.mp4"]
    assert names(cli(*listed, "--where", "recorded_at > '2026-03-01'", "--gone")) == ["two.mp4"]
    assert json.loads(cli("videos", "columns", *at, "--json").out) == {
        "badge": "text", "camera": "text", "lanes": "number",
    }  # fmt: skip
    assert cli("videos", "set", "lanes=", "--where", "lanes > 1", *at).text.startswith("one.mp4: b")
    assert cli("videos", "set", "lanes=3", "--where", "lanes > 1", *at).text.startswith("no video")
    sql = "SELECT camera, lanes FROM videos ORDER BY video_id"
    assert json.loads(cli("sql", sql, *at, "--json").out)[0] == {"camera": "north", "lanes": None}
    ran = cli("videos", "rm", "*.mp4", "--where", "camera = 'north'", *at, "--json")
    assert json.loads(ran.out) == {"removed": ["one.mp4"]}
    assert "badge" not in cli("videos", "columns", "--drop", "badge", *at).text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("one.mp4",), "got no value; expected videos"),
        (("camera=x",), "got no video; expected videos"),
        (("one.mp4", "name=x"), "column 'name' is the store's own"),
        (("one.mp4", "x:number=y"), "column x holds finite numbers, got 'y'"),
        (("one.mp4", "x:nmber=1"), "unknown kind 'nmber'"),
        (("three.mp4", "x=1"), "no video 'three.mp4'"),
        (("x=1", "--where", "nme = 'a'"), "nearest: name"),
    ],
)
def test_what_cannot_be_set(cli: Cli, moved: Path, arguments: tuple[str, ...], said: str) -> None:
    ran = cli("videos", "set", *arguments, "--data", moved)
    assert ran.code != 0
    assert said in ran.err


def test_a_name_tells_when_it_was_recorded(
    cli: Cli, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEJAVU_RECORDED_PATTERN", "%Y%m%dT%H%M%S%z")
    (tmp_path / "gate").mkdir()
    shutil.copy(made.clips / "one.mp4", tmp_path / "gate" / "c-20260301T083000Z.mp4")
    with Engine.open(tmp_path / "data", device="cpu") as engine:
        engine.register(tmp_path)
        found = engine.sql("SELECT name, recorded_at, recorded_from, folder FROM videos").rows()
    assert found == [
        {
            "name": "gate/c-20260301T083000Z.mp4",
            "recorded_at": datetime(2026, 3, 1, 8, 30),
            "recorded_from": "name",
            "folder": str(tmp_path / "gate"),
        }
    ]
    monkeypatch.setenv("DEJAVU_RECORDED_PATTERN", "%H")
    ran = cli("query", "a star", "--data", tmp_path / "data")
    assert "gives no day; expected one as %Y-%m-%d_%H-%M-%S" in ran.err


@pytest.mark.parametrize(
    "flags",
    [("--parts", "parts"), ("--workers", 2), ("--decoder", "pyav"), ("--devices", "cuda:0"),
     ("--option", "r=8"), ("--workers", 2, "--devices", "cuda:0")],
    ids=lambda flags: " ".join(map(str, flags)),
)  # fmt: skip
def test_a_server_drops_no_flag_of_ingest_in_silence(
    flags: tuple[object, ...], cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Client("http://127.0.0.1:9")  # nothing is sent to it
    monkeypatch.setattr(connect, "find_server", lambda _: found)
    ran = cli("ingest", "x.mp4", "--data", tmp_path, *flags)
    named = ", ".join(str(flag) for flag in flags if str(flag).startswith("--"))
    assert ran.code == 2
    assert ran.err.splitlines()[-1].startswith(f"error: {named} ")
    assert ran.err.endswith("for an engine of this process; a server runs on the folder\n")
