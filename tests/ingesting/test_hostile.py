"""Files that do harm end with themselves: every other is done, in bounded time and memory."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import FrameType

import pytest

from engine.ingest import IngestOptions, ingest
from engine.video.limits import MOST_SECONDS
from tests.peak import Peak
from tests.torture.files import faults, run_batch
from tests.torture.hostile import (
    CONTAINERS,
    TITLE,
    huge_gif,
    mutants,
    retitled,
    sound_clip,
)

DENSE = IngestOptions(strategy="dense")
DAY = 86_400_000  # milliseconds


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sound")
    return [sound_clip(folder / f"made.{suffix}") for suffix in CONTAINERS]


def test_spoilt_files_stop_no_other(sound, make_clip, tmp_path) -> None:
    """`make torture` does the same with hundreds."""
    for name, data in mutants(sound, 40, seed=5):
        (tmp_path / name).write_bytes(data)
    make_clip(tmp_path / "sound.mp4", 10)
    names = {path.name for path in tmp_path.iterdir()}
    assert faults(run_batch(tmp_path), names) == []


@pytest.mark.parametrize(
    "title", ["Été à la mer".encode("latin-1"), "Été".encode("utf-16"), bytes(18), b"\xff" * 18]
)
def test_titles_in_any_bytes(store, model, sound, tmp_path, title) -> None:
    titled = [path for path in sound if TITLE.encode() in path.read_bytes()]
    assert len(titled) > 4
    for path in titled:
        (tmp_path / path.name).write_bytes(retitled(path.read_bytes(), title))
    report = ingest(store, model, [tmp_path], DENSE)
    assert {video.name: video.outcome for video in report.videos} == {
        path.name: "ready" for path in titled
    }


def test_names_that_are_not_utf8_and_pipes(store, model, clips, tmp_path) -> None:
    short = (clips / "short.mp4").read_bytes()
    Path(os.fsdecode(bytes(tmp_path) + b"/\xe9t\xe9.mp4")).write_bytes(short)
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "zeros.mp4").symlink_to("/dev/zero")
    (tmp_path / "well.mp4").write_bytes(short)
    report = ingest(store, model, [tmp_path], DENSE)
    assert {video.name: video.reason for video in report.videos} == {
        "\ufffdt\ufffd.mp4": "\ufffdt\ufffd.mp4 has a name that is not UTF-8; rename the file",
        "pipe.mp4": "pipe.mp4 is no regular file",
        "well.mp4": None,
        "zeros.mp4": "zeros.mp4 is no regular file",
    }
    assert {video.name for video in store.catalog.videos()} == {v.name for v in report.videos}


@contextmanager
def counted() -> Iterator[count]:
    """Count the calls of functions, in this thread and in those that begin meanwhile."""
    calls = count()

    def note(_frame: FrameType, event: str, _of: object) -> None:
        if "call" in event:
            next(calls)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


@pytest.mark.parametrize(("suffix", "gap"), [("mp4", DAY), ("mkv", DAY), ("mkv", 20 * DAY)])
def test_work_grows_with_pictures_not_with_the_timeline(
    store, model, tmp_path, suffix, gap
) -> None:
    calls = list[int]()
    for far in (1500, gap):
        path = sound_clip(tmp_path / f"{far}.{suffix}", pts=[0, 500, 1000, far, far + 500])
        with counted() as count:
            [video] = ingest(store, model, [path], DENSE).videos
        calls.append(next(count))
    assert calls[1] < 2 * calls[0]
    assert (video.outcome, video.rows, video.missing) == ("ready", 5, [])
    seconds = store.rows(model.space.key, [video.video_id], ["seconds"]).column("seconds")
    assert seconds.to_pylist() == pytest.approx([0, 0.5, 1, gap / 1000, gap / 1000 + 0.5])
    assert len(store.catalog.stretches(video.video_id, model.space.key)) == 1
    assert store.verify() == []


def test_a_timeline_that_is_too_long_is_cut_and_said(store, model, tmp_path) -> None:
    path = sound_clip(tmp_path / "gap.mkv", pts=[0, 500, 31 * DAY, 31 * DAY + 500])
    [video] = ingest(store, model, [path], IngestOptions(fps=240, strategy="dense")).videos
    assert (video.outcome, video.rows) == ("ready", 2)
    [gap] = video.missing
    assert (gap.start_seconds, gap.reason) == (
        MOST_SECONDS,
        "at most 24 days of timeline are taken",
    )
    assert store.verify() == []


def test_pictures_that_are_shown_for_minutes_share_stretches(store, model, tmp_path) -> None:
    """Slides with one key picture: one pass, and a row for each."""
    path = sound_clip(tmp_path / "slides.mkv", pts=range(0, 150 * 120_000, 120_000), gop=1000)
    [video] = ingest(store, model, [path], DENSE).videos
    assert (video.rows, video.missing) == (150, [])
    assert video.pictures <= 2 * 150
    assert len(store.catalog.stretches(video.video_id, model.space.key)) <= 3


def test_times_that_go_backwards(store, model, tmp_path, make_clip) -> None:
    one, two = (make_clip(tmp_path / name, 10, seed=s) for s, name in enumerate(["a.ts", "b.ts"]))
    path = tmp_path / "back.ts"
    path.write_bytes(two.read_bytes() + one.read_bytes())
    [video] = ingest(store, model, [path], DENSE).videos
    assert video.outcome == "ready"
    assert store.verify() == []


@pytest.mark.parametrize(("width", "height"), [(12_000, 12_000), (65_535, 65_535), (65_535, 1)])
def test_pictures_of_absurd_sizes(store, model, tmp_path, width, height) -> None:
    path = tmp_path / "huge.gif"
    path.write_bytes(huge_gif(width, height, frames=3))
    peak = Peak()
    [video] = ingest(store, model, [path], DENSE).videos
    assert peak.grown() < 300 << 20
    if width == height:
        assert (video.outcome, video.rows) == ("quarantined", 0)
        assert video.reason == "its pictures have no size, or more than 36,000,000 pixels"
    else:
        assert (video.outcome, video.rows) == ("ready", 1)  # one and the same for 0.3 s
