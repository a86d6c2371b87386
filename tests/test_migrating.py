"""A move to another model: unseen until it is whole, then at once; broken off it loses nothing."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import Engine
from engine.errors import NotFoundError, UsageError
from engine.video.write import write_h264
from tests.embedding_server import COLOURS, SILENT, EmbeddingServer, code, embedding_server


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with embedding_server() as told:
        yield told


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    made = []
    for name, order in (("one", ("red", "green")), ("two", ("blue", "red"))):
        frames = [np.full((32, 32, 3), COLOURS[each], np.uint8) for each in order for _ in range(8)]
        write_h264(tmp_path / f"{name}.mp4", frames, 4.0)
        made.append(tmp_path / f"{name}.mp4")
    return made


def model(server: EmbeddingServer, name: str) -> str:
    return f"{server.url}#{name}?size=32"


class Stop:
    """Ends an ingest once so many frames were embedded."""

    def __init__(self, server: EmbeddingServer, requests: int) -> None:
        self.server, self.requests = server, requests

    def report(self, event: object) -> None:
        """Take nothing in."""

    def stopped(self) -> bool:
        return len(self.server.asked) >= self.requests


def found(engine: Engine, text: str) -> list[tuple[Any, ...]]:
    return [(each.video_id, each.start_seconds) for each in engine.query(text, 3).moments]


def rows(engine: Engine, space: str) -> int:
    return engine.index(space).num_rows


@pytest.mark.parametrize("remove", [False, True])
def test_queries_turn_when_all_is_there(
    server: EmbeddingServer, clips: list[Path], tmp_path: Path, remove: bool
) -> None:
    with Engine.open(tmp_path / "data", model(server, "old"), "cpu") as engine:
        engine.ingest(clips[0], fps=2.0)
        engine.ingest(clips[1], fps=4.0)
        old, before = engine.space, found(engine, "blue")
        assert rows(engine, old) == 8 + 16
        broken = engine.migrate(model(server, "new"), progress=Stop(server, len(server.asked) + 3))
        assert (broken.switched, broken.interrupted) == (False, True)
        assert engine.space == old
        assert engine.store.catalog.current_space().key == old
        assert found(engine, "blue") == before
        moved = engine.migrate(model(server, "new"), remove=remove)
        assert (moved.switched, moved.videos, moved.failed) == (True, 2, ())
        assert broken.frames == 8
        assert moved.frames == 16
        assert engine.space == moved.target != old
        assert engine.store.catalog.current_space().key == moved.target
        assert engine.settings.model == model(server, "new")
        assert rows(engine, moved.target) == 8 + 16  # each at its own rate
        assert found(engine, "blue") == before
        assert [space.key for space in engine.spaces()] == [moved.target] if remove else True
        with pytest.raises(UsageError, match="is the space of both; allowed: two models"):
            engine.migrate()
        with pytest.raises(NotFoundError, match="'elsewhere'"):
            engine.migrate(source="elsewhere")


def test_a_video_that_cannot_be_embedded_leaves_all_as_it_is(
    server: EmbeddingServer, clips: list[Path], tmp_path: Path
) -> None:
    with Engine.open(tmp_path / "data", model(server, "old"), "cpu") as engine:
        engine.ingest(clips)
        old, kept = engine.space, clips[1].read_bytes()
        clips[1].write_bytes(b"no video any more")
        moved = engine.migrate(model(server, "new"))
        assert (moved.switched, [name for name, _ in moved.failed]) == (False, ["two.mp4"])
        assert engine.space == old
        clips[1].write_bytes(kept)
        assert engine.migrate(model(server, "new")).switched


def test_killed_in_the_middle_it_goes_on(
    server: EmbeddingServer, clips: list[Path], tmp_path: Path
) -> None:
    data, old, new = tmp_path / "data", model(server, "old"), model(server, "new")
    with Engine.open(data, old, "cpu") as engine:
        engine.ingest(clips)
        before, space = found(engine, "blue"), engine.space
    so_far = len(server.asked)
    server.instead = [*([lambda _: None] * 2), *([code(SILENT)] * 9)]
    command = [sys.executable, "-m", "api.cli.start", "models", "migrate", old, new]
    command += ["--data", str(data), "--device", "cpu"]
    killed = subprocess.Popen(command, env={**os.environ, "DEJAVU_WORKERS": "1"})
    until = time.monotonic() + 120
    while len(server.asked) < so_far + 3 and killed.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait(60)
    server.instead.clear()
    with Engine.open(data, old, "cpu") as engine:
        assert engine.space == space
        assert found(engine, "blue") == before
        [job] = engine.jobs()
        assert (job.kind, job.status) == ("migrate", "queued")
        moved = engine.migrate(**job.request["migrate"])
        assert moved.switched
        assert found(engine, "blue") == before
