"""A small store made once: two made-up clips, the built-in model, every frame encoded in full."""

import io
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from starlette.types import ASGIApp

from api.app import create_app
from api.cli.main import main
from api.config import ServerSettings
from api.connection import server_of
from engine.session import Engine
from engine.video.write import write_h264
from engine.world.clip import make_clip
from engine.world.render import render_frames
from tests.api.browser import CHROMIUM, DRIVER, Browser, driving
from tests.waiting import LONG

URL = "http://127.0.0.1:8000"
Serve = Callable[..., TestClient]


@dataclass(frozen=True, slots=True)
class Made:
    """Where the clips and the store lie."""

    clips: Path
    store: Path
    text: str  # what the first clip shows


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command left behind."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """What stood on stdout."""
        return self.out.decode()


@contextmanager
def serving(app: ASGIApp, settings: ServerSettings) -> Iterator[int]:
    """A real server, in a thread; its port."""
    server = server_of(app, settings)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(LONG)
            assert not thread.is_alive()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Two clips of four and five seconds, ingested by `dense`."""
    folder = tmp_path_factory.mktemp("api")
    clips = folder / "clips"
    clips.mkdir()
    told = [make_clip(seed, "test", duration_seconds=4.0 + seed) for seed in (0, 1)]
    for name, clip in zip(("one.mp4", "two.mp4"), told, strict=True):
        write_h264(clips / name, render_frames(clip, 96), clip.fps)
    with Engine.open(folder / "store", device="cpu") as engine:
        engine.ingest(clips, fps=2, strategy="dense")
        engine.query("a star")  # measures how unrelated texts score, once for all copies
    return Made(clips, folder / "store", told[0].caption)


@pytest.fixture(scope="session")
def engine(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine on a copy of the store, for tests that only read."""
    copy = tmp_path_factory.mktemp("read") / "store"
    shutil.copytree(made.store, copy)
    with Engine.open(copy, device="cpu") as opened:
        yield opened


@pytest.fixture(scope="session")
def client(engine: Engine) -> Iterator[TestClient]:
    """A server without keys on the engine that is only read."""
    with TestClient(create_app(engine, ServerSettings()), base_url=URL) as opened:
        yield opened


@pytest.fixture(scope="module")
def own_engine(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine on a copy of the store that one test file may change."""
    copy = tmp_path_factory.mktemp("write") / "store"
    shutil.copytree(made.store, copy)
    with Engine.open(copy, device="cpu") as opened:
        yield opened


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser without a window."""
    if not (CHROMIUM and DRIVER):
        pytest.skip("no chromium with its driver")
    with driving() as address:
        started = Browser(address, tmp_path_factory.mktemp("profile"))
        try:
            yield started
        finally:
            started.close()


@pytest.fixture(scope="module")
def url(engine: Engine) -> Iterator[str]:
    """A server without keys for the page, its model loaded."""
    settings = ServerSettings()
    with serving(create_app(engine.load(), settings), settings) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture
def browser(opened: Browser) -> Iterator[Browser]:
    """The browser, which must have nothing against the page."""
    opened.open("about:blank")
    opened.look(1280, "light")
    opened.complaints()
    yield opened
    # a page that is still open may ask a server that the test has ended
    refused = "net::ERR_CONNECTION_REFUSED"
    assert [each for each in opened.complaints() if not each.endswith(refused)] == []


@pytest.fixture
def data(made: Made, tmp_path: Path) -> Path:
    """A copy of the store that nobody holds."""
    return Path(shutil.copytree(made.store, tmp_path / "store"))


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run a command in this process as the shell would."""

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["dejavu-engine", *map(str, arguments)])
        raw, err = io.BytesIO(), io.StringIO()
        out = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
        return Ran(int(ended.value.code or 0), raw.getvalue(), err.getvalue())

    return run
