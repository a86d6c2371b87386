"""Two processes: the second is told who the first is."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from threading import Timer

import pytest

from engine.errors import StoreError
from engine.storage.lock import holder
from engine.storage.store import Store

HOLD = """
import sys
from pathlib import Path
from engine.storage.store import Store
with Store.open(Path(sys.argv[1])) as store:
    store.announce("http://127.0.0.1:8123")
    print("open", flush=True)
    sys.stdin.read()
"""


def test_the_holder_is_named(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    with Store.open(tmp_path):
        with pytest.raises(StoreError, match=f"in use by process {os.getpid()}"):
            Store.open(tmp_path)
        held = holder(tmp_path)
        assert held is not None
        assert (held.pid, held.url) == (os.getpid(), None)
    assert holder(tmp_path) is None
    Store.open(tmp_path).close()


def test_another_process_and_its_server(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        cwd=Path(__file__).resolve().parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        held = holder(tmp_path)
        assert held is not None
        assert (held.pid, held.url) == (process.pid, "http://127.0.0.1:8123")
        with pytest.raises(StoreError, match=f"process {process.pid} .*serving at http://127"):
            Store.open(tmp_path)
        process.kill()
    Store.open(tmp_path).close()


def test_who_looks_holds_nobody_up(tmp_path: Path) -> None:
    """Commands that ask who has the folder neither see each other nor refuse a writer."""
    Store.open(tmp_path).close()
    with (tmp_path / "lock").open("a+") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)  # what `holder` holds while it looks
        assert holder(tmp_path) is None
        end = Timer(0.5, lambda: fcntl.flock(looking, fcntl.LOCK_UN))
        end.start()
        Store.open(tmp_path).close()
        end.join()


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(StoreError, match="cannot use the data folder"):
        Store.open(tmp_path)


def test_a_full_disk_can_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store.open(tmp_path).close()

    def refuse(_: int, __: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", refuse)
    with Store.open(tmp_path) as store:
        assert store.catalog.videos() == []
        held = holder(tmp_path)
        assert held is not None
        assert "just started" in held.command
