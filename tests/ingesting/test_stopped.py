"""An ingest that is stopped, interrupted or killed goes on and ends the same."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from engine.ingest import IngestOptions, ingest
from engine.storage.store import Store

DENSE = IngestOptions(strategy="dense")


def test_stopped_and_taken_up_again_ends_the_same(
    store, model, clips, listener, stored, tmp_path
) -> None:
    options = IngestOptions(strategy="dense", streams=1, workers=1)
    heard = listener("encode")
    heard.act = lambda: setattr(heard, "stop", True)
    first = ingest(store, model, [clips], options, heard)
    assert first.interrupted
    assert "the same command goes on" in first.resume
    assert 0 < len(store.rows(model.space.key)) < 225
    second = ingest(store, model, [clips], options)
    assert not second.interrupted
    assert second.resume is None
    assert 0 < second.frames < 225
    assert second.rows == 225
    with Store.open(tmp_path / "undisturbed") as other:
        ingest(other, model, [clips], options)
        assert stored(store, model.space.key) == stored(other, model.space.key)
    assert store.verify() == []


def test_control_c_commits_what_is_begun(store, model, clips, listener, caplog) -> None:
    interrupt = listener("encode", lambda: os.kill(os.getpid(), signal.SIGINT))
    options = IngestOptions(strategy="dense", streams=1, workers=1)
    before = signal.getsignal(signal.SIGINT)
    report = ingest(store, model, [clips], options, interrupt)
    assert report.interrupted
    assert (
        caplog.messages.count(
            "stopping: what is begun is being committed; Ctrl-C again stops at once"
        )
        == 1
    )
    assert 0 < len(store.rows(model.space.key)) < 225
    assert signal.getsignal(signal.SIGINT) == before
    assert not [t for t in threading.enumerate() if t.name in ("plan", "decode", "write")]


KILLED = """
import os, signal, sys
from pathlib import Path
from engine.ingest import IngestOptions, ingest
from engine.storage.store import Store
from tests.ingesting.conftest import small_model

class Killer:
    def report(self, event):
        if event.stage == "write":
            os.kill(os.getpid(), signal.SIGKILL)
    def stopped(self):
        return False

options = IngestOptions(strategy="dense", streams=1, workers=1)
ingest(Store.open(Path(sys.argv[1])), small_model(), [sys.argv[2]], options, Killer())
"""


def test_killed_and_taken_up_again_ends_the_same(tmp_path, model, clips, stored) -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "killed"), str(clips)],
        cwd=root,
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    found = []
    for name in ("killed", "undisturbed"):
        with Store.open(tmp_path / name) as store:
            report = ingest(store, model, [clips], DENSE)
            assert report.rows == 225
            assert (report.frames < 225) == (name == "killed")
            assert store.verify() == []
            found.append(stored(store, model.space.key))
    assert found[0] == found[1]
