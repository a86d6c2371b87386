"""The same clips asked from Python, the command line and over HTTP: the same moments."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from api.cli.main import main
from engine.client import Client
from engine.errors import NotFoundError, QueryError
from engine.session import Engine
from engine.storage.lock import holder
from engine.video.write import write_h264
from engine.world.clip import make_clip
from engine.world.render import render_frames
from tests.waiting import LONG

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-c", "from api.cli.main import main; main()"]
TEXTS = ("a red circle", "a blue star moves left")
QUESTION, CHOICES = "what colour is the star?", ["red", "blue", "green"]
STATEMENT = "SELECT name, max(CLIP_MATCH(frame, $text)) AS best FROM frames JOIN videos USING (video_id) GROUP BY name ORDER BY name"  # noqa: E501
KEY = {"DEJAVU_API_KEYS": "write:end-to-end"}


def environment(**more: str) -> dict[str, str]:
    """What a command of this test sees."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("DEJAVU_")}
    return {**own, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **KEY, **more}


def command(*arguments: object) -> tuple[Any, str]:
    """Run a command as the shell would; return its document and what it said."""
    out, err = io.StringIO(), io.StringIO()
    listed = ["dejavu-engine", *map(str, arguments), "--json"]
    with (
        patch.object(sys, "argv", listed),
        patch.dict(os.environ, KEY),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    assert not ended.value.code, err.getvalue()
    return json.loads(out.getvalue()), err.getvalue()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short clips."""
    folder = tmp_path_factory.mktemp("clips")
    for name, seed in (("one.mp4", 4), ("two.mp4", 5)):
        clip = make_clip(seed, "test", duration_seconds=5.0)
        write_h264(folder / name, render_frames(clip, 96), clip.fps)
    return folder


@pytest.fixture(scope="module")
def by_python(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an engine of this process answers."""
    with Engine.open(tmp_path_factory.mktemp("python"), device="cpu") as engine:
        engine.ingest(clips, fps=2, strategy="dense")
        found = [engine.query(text, top_k=5).moments for text in TEXTS]
        answer = engine.ask(QUESTION, CHOICES)
        rows = engine.sql(STATEMENT, text=TEXTS[0]).rows()
    return {
        "moments": [[asdict(moment) for moment in moments] for moments in found],
        "answer": asdict(answer),
        "rows": rows,
    }


@pytest.fixture(scope="module")
def data(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a command filled."""
    folder = tmp_path_factory.mktemp("cli") / "data"
    report, _ = command("ingest", clips, "--fps", 2, "--strategy", "dense", "--data", folder)
    assert [video["outcome"] for video in report["videos"]] == ["ready", "ready"]
    return folder


def same(found: Sequence[dict[str, Any]], expected: Sequence[dict[str, Any]]) -> None:
    """Compare moments: the same places exactly, scores but for rounding."""
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        for name in ("name", "start_seconds", "stop_seconds", "peak_seconds"):
            assert one[name] == other[name]
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)


def test_commands_answer_as_python_does(by_python: dict[str, Any], data: Path) -> None:
    for text, expected in zip(TEXTS, by_python["moments"], strict=True):
        found, _ = command("query", text, "--top", 5, "--data", data)
        same(found["moments"], expected)


@pytest.fixture(scope="module")
def server(data: Path, clips: Path, by_python: dict[str, Any]) -> Iterator[Client]:
    """A server on the folder, found as a command finds it; it ends on SIGTERM."""
    arguments = [*COMMAND, "serve", "--port", "0", "--data", str(data)]
    process = subprocess.Popen(arguments, env=environment(DEJAVU_VIDEO_ROOTS=str(clips)))
    try:
        stop = time.monotonic() + LONG
        while (held := holder(data)) is None or held.url is None:
            assert process.poll() is None
            assert time.monotonic() < stop
            time.sleep(0.1)
        assert held.pid == process.pid
        yield Client(held.url, "end-to-end")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG) == 0
    assert holder(data) is None


def test_http_answers_as_python_does(server: Client, by_python: dict[str, Any]) -> None:
    for text, expected in zip(TEXTS, by_python["moments"], strict=True):
        same([asdict(moment) for moment in server.query(text, 5).moments], expected)
    answer, expected = asdict(server.ask(QUESTION, CHOICES)), by_python["answer"]
    assert answer["text"] == expected["text"]
    assert answer["how"] == expected["how"]
    assert answer["scores"] == pytest.approx(expected["scores"], abs=1e-3)
    rows = server.sql(STATEMENT, text=TEXTS[0]).rows()
    assert [row["name"] for row in rows] == ["one.mp4", "two.mp4"]
    best = [row["best"] for row in by_python["rows"]]
    assert [row["best"] for row in rows] == pytest.approx(best, abs=1e-4)


def test_a_command_uses_the_server_that_runs(
    server: Client, data: Path, by_python: dict[str, Any], clips: Path
) -> None:
    found, said = command("query", TEXTS[0], "--top", 5, "--data", data)
    same(found["moments"], by_python["moments"][0])
    assert server.url in said
    rows, _ = command("sql", STATEMENT, "--param", f"text={TEXTS[0]}", "--data", data)
    assert [row["name"] for row in rows] == ["one.mp4", "two.mp4"]
    answer, _ = command(
        "ask", QUESTION, *(part for choice in CHOICES for part in ("--choice", choice)),
        "--data", data,
    )  # fmt: skip
    assert answer["text"] == by_python["answer"]["text"]
    listed, _ = command("videos", "ls", "--data", data)
    assert [video["name"] for video in listed] == ["one.mp4", "two.mp4"]
    shutil.copy(clips / "one.mp4", clips / "same.mp4")
    (job,), _ = command("ingest", clips / "same.mp4", "--strategy", "dense", "--data", data)
    assert job["status"] == "ready"
    shown, _ = command("jobs", "show", job["id"], "--data", data)
    assert shown["status"] == "ready"


def test_errors_come_through_as_the_engines_own(server: Client) -> None:
    with pytest.raises(NotFoundError, match=r"three\.mp4"):
        server.query("a star", videos=["three.mp4"])
    with pytest.raises(QueryError) as caught:
        server.sql("SELECT nam FROM videos")
    assert caught.value.caret().startswith("SELECT nam FROM videos\n")
    with pytest.raises(NotFoundError):
        server.call("GET", "/videos/99")


def test_a_command_that_needs_the_folder_names_who_has_it(server: Client, data: Path) -> None:
    listed = [*COMMAND, "index", "compact", "--data", str(data)]
    done = subprocess.run(listed, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 1
    assert server.url in done.stderr
    assert done.stderr.count("\n") == 1
