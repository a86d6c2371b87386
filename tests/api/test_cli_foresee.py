"""Which files `ingest` takes, and what it tells without writing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.library import Library
from tests.api.conftest import Made, Ran

Cli = Callable[..., Ran]


@pytest.fixture
def folder(made: Made, tmp_path: Path) -> Path:
    """One known clip, one new one in a folder of its own, and a torn one."""
    films = tmp_path / "films"
    (films / "north").mkdir(parents=True)
    shutil.copy(made.clips / "one.mp4", films)
    content = (made.clips / "two.mp4").read_bytes()
    (films / "north" / "new.mp4").write_bytes(content + bytes(8))
    (films / "torn.mp4").write_bytes(content[:200])
    return films


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_dry_run_writes_nothing(cli: Cli, data: Path, folder: Path) -> None:
    before = contents(data), contents(folder)
    ran = cli("ingest", folder, "--dry-run", "--data", data, "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    found = {file["name"]: file["outcome"] for file in told["files"]}
    assert found == {"one.mp4": "known", "north/new.mp4": "new", "torn.mp4": "quarantined"}
    assert told["frames"] == 10
    assert told["decode_seconds"] > 0
    assert told["encode_seconds"] > 0
    assert told["disk_bytes"] > 0
    text = cli("ingest", folder, "--dry-run", "--data", data).text
    assert "1 new, 1 known, 1 quarantined" in text
    assert (contents(data), contents(folder)) == before


def test_dry_run_makes_no_folder(cli: Cli, folder: Path, tmp_path: Path) -> None:
    ran = cli("ingest", folder, "--dry-run", "--data", tmp_path / "none")
    assert ran.code == 0, ran.err
    assert "time: unknown" in ran.text
    assert "disk: unknown" in ran.text
    assert not (tmp_path / "none").exists()


def test_globs_choose(cli: Cli, data: Path, folder: Path) -> None:
    def names(*flags: str) -> list[str]:
        ran = cli("ingest", folder, "--dry-run", "--data", data, "--json", *flags)
        return [file["name"] for file in json.loads(ran.out)["files"]]

    assert names("--include", "north") == ["north/new.mp4"]
    assert names("--exclude", "torn*", "--exclude", "north/*") == ["one.mp4"]
    ran = cli("ingest", folder, "--data", data, "--include", "*.avi")
    assert ran.code == 1
    assert "--include '*.avi' leave none of 3 files" in ran.err
    assert cli("ingest", "--data", data).code == 2


def test_retry_takes_what_is_quarantined(cli: Cli, data: Path, folder: Path, made: Made) -> None:
    assert "no video of those is quarantined" in cli("ingest", "--retry", "--data", data).text
    assert cli("ingest", folder / "torn.mp4", "--data", data).code == 3
    assert cli("ingest", "--retry", "--data", data).code == 3
    (folder / "torn.mp4").write_bytes((made.clips / "two.mp4").read_bytes() + bytes(9))
    told = json.loads(cli("ingest", "--retry", "--dry-run", "--data", data, "--json").out)
    assert [file["name"] for file in told["files"]] == ["torn.mp4"]
    ran = cli("ingest", folder, "--retry", "--data", data, "--json", "--strategy", "dense")
    assert ran.code == 0, ran.err
    assert [v["outcome"] for v in json.loads(ran.out)["videos"]] == ["ready"]
    with Library.open(data) as library:
        assert library.video("torn.mp4").status == "ready"
        assert not library.quarantined()
        assert "north/new.mp4" not in {video.name for video in library.videos()}
