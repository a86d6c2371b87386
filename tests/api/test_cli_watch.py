"""`ingest --watch` on a real folder, by a clock that the test winds, ended by Ctrl-C."""

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.library import Library
from engine.session import Engine
from tests.api.conftest import Made, Ran

Cli = Callable[..., Ran]
STEP = 3.0  # seconds between two things that happen: time to be noticed and to rest


@pytest.fixture
def happen(monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterator[None]], None]:
    """Let what a generator does happen while the command sleeps, then press Ctrl-C."""

    def wind(story: Iterator[None]) -> None:
        clock = [0.0, STEP]

        def sleep(seconds: float) -> None:
            clock[0] += seconds
            if clock[0] >= clock[1]:
                clock[1] += STEP
                try:
                    next(story)
                except StopIteration:
                    signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr("api.cli.watch.sleep", sleep)
        monkeypatch.setattr("api.cli.watch.monotonic", lambda: clock[0])

    return wind


def test_watch(cli: Cli, made: Made, tmp_path: Path, happen) -> None:
    folder, data = tmp_path / "films", tmp_path / "data"
    folder.mkdir()
    shutil.copy(made.clips / "one.mp4", folder)
    content = (made.clips / "two.mp4").read_bytes()

    def story() -> Iterator[None]:
        (folder / "new.mp4").write_bytes(content)
        yield
        (folder / "new.mp4").rename(folder / "moved.mp4")
        yield
        (folder / "one.mp4").unlink()
        yield
        (folder / "torn.mp4").write_bytes(content[:100])
        (folder / "trash").mkdir()
        (folder / "trash" / "no.mp4").write_bytes(content)
        yield

    happen(story())
    given = ("--rest", "1", "--strategy", "dense", "--exclude", "trash", "--data", data)
    ran = cli("ingest", folder, "--watch", "--json", *given)
    assert ran.code == 0, ran.err
    told = [json.loads(line) for line in ran.text.splitlines()]
    assert [(each["event"], each["name"]) for each in told] == [
        ("ready", "one.mp4"),
        ("ready", "new.mp4"),
        ("moved", "moved.mp4"),
        ("known", "moved.mp4"),
        ("gone", "one.mp4"),
        ("quarantined", "torn.mp4"),
    ]
    assert told[1]["rows"] == 10
    assert told[2]["before"] == "new.mp4"
    with Library.open(data) as library:
        assert library.video("moved.mp4").path == str(folder / "moved.mp4")
        assert library.video("moved.mp4").status == "ready"


def test_what_went_before_is_told(cli: Cli, made: Made, tmp_path: Path, happen) -> None:
    folder, data = tmp_path / "films", tmp_path / "data"
    folder.mkdir()
    shutil.copy(made.clips / "one.mp4", folder)
    with Engine.open(data, device="cpu") as engine:
        engine.register(folder)
    (folder / "one.mp4").unlink()
    happen(iter(()))
    ran = cli("ingest", folder, "--watch", "--data", data)
    assert ran.code == 0
    assert ran.text.split() == ["gone", "one.mp4"]


@pytest.mark.parametrize("flag", ["--retry", "--dry-run"])
def test_watch_alone(cli: Cli, data: Path, made: Made, flag: str) -> None:
    ran = cli("ingest", made.clips, "--watch", flag, "--data", data)
    assert ran.code == 2
    assert "--watch" in ran.err
