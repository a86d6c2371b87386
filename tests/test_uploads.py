"""Files that were sent to a server go once nothing needs them, and not before."""

import os
import time
from pathlib import Path

import pytest

from engine.storage.store import Store
from engine.uploads import drop_forgotten
from engine.video.container import VideoInfo

DAY = 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store.open(tmp_path / "data")


def sent(store: Store, name: str, *, days_ago: float = 2) -> Path:
    """An upload of some days ago."""
    path = store.layout.uploads / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"bytes")
    os.utime(path, (time.time() - days_ago * DAY,) * 2)
    return path


def job(store: Store, path: Path, status: str) -> None:
    """A job that was to bring a file in, and just became `status`."""
    job_id = store.catalog.add_job("ingest", {"paths": [str(path)]})
    if status != "queued":
        store.catalog.update_job(job_id, status=status)  # type: ignore[arg-type]


def test_what_a_video_or_a_job_needs_stays(store: Store) -> None:
    read = sent(store, "read.mp4")
    info = VideoInfo(str(read), "h264", 64, 48, 0, 30.0, 10.0, 0.0, 300, 1234, "yuv420p", False)
    store.catalog.add_video(info, "hash", "read.mp4")
    kept = [read, sent(store, "new.mp4", days_ago=0)]
    for status in ("queued", "running"):
        kept.append(sent(store, f"{status}.mp4"))
        job(store, kept[-1], status)
    gone = sent(store, "orphan.mp4")
    assert drop_forgotten(store, DAY) == ["orphan.mp4"]
    assert sorted(store.layout.uploads.iterdir()) == sorted(kept)
    assert not gone.exists()
    store.close()


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_what_may_be_retried_stays_for_a_while(store: Store, status: str) -> None:
    path = sent(store, "tried.mp4")
    job(store, path, status)
    assert drop_forgotten(store, DAY) == []
    assert drop_forgotten(store, -1.0) == ["tried.mp4"]
    job(store, sent(store, "again.mp4"), status)
    job(store, store.layout.uploads / "again.mp4", "queued")  # the retry
    assert drop_forgotten(store, -1.0) == []
    store.close()
