"""Which videos `ls` and `rm` mean."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine
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
