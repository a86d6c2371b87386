"""The page about buckets is run as it stands, on a server like the one that it names."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from engine.session import Engine
from tests.objects.s3 import S3

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/how-to/object-storage.md"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Run a command where nothing is, and return its code and what it printed."""
    import sys

    from api.cli.main import main

    monkeypatch.chdir(tmp_path)

    def ran(line: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", shlex.split(line))
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out + told.err

    return ran


def test_every_command_of_the_page_does_what_it_says(
    s3: S3, street_clip: Path, run: Callable[[str], tuple[int, str]], tmp_path: Path
) -> None:
    s3.buckets["films"] = s3.buckets["bucket"]
    for name in ("north/a.mp4", "south/b.mp4"):
        s3.put(name, street_clip.read_bytes() + name.encode())
    lines = re.findall(r"^dejavu-engine .*$", PAGE.read_text(), re.M)
    assert len(lines) >= 10
    for line in lines:
        code, told = run(line)
        assert code == 0, f"{line}: {told}"
    with Engine.open(tmp_path / "again", device="cpu", read_only=True) as engine:
        found = {video.name: video.status for video in engine.videos()}
        assert found == {"a.mp4": "ready", "b.mp4": "ready"}
    del s3.objects["north/a.mp4"]
    code, told = run("dejavu-engine videos ls --gone")
    assert (code, "a.mp4" in told, "b.mp4" in told) == (0, True, False), told


def test_the_bucket_of_the_compose_file_is_the_engines() -> None:
    services = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    engine, minio, made = (services[name] for name in ("engine-s3", "minio", "bucket"))
    told = engine["environment"]
    assert told["AWS_ENDPOINT_URL"] == "http://minio:9000"
    assert {each["profiles"][0] for each in (engine, minio, made)} == {"s3"}
    assert told["AWS_ACCESS_KEY_ID"] == minio["environment"]["MINIO_ROOT_USER"]
    assert told["AWS_SECRET_ACCESS_KEY"] == minio["environment"]["MINIO_ROOT_PASSWORD"]
    assert "s3://films" in told["DEJAVU_VIDEO_ROOTS"].split(":", 1)[1]
    assert "local/films" in " ".join(made["entrypoint"])
    assert "--profile s3" in PAGE.read_text()
