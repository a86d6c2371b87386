"""`live`: a stream that ffmpeg serves becomes videos with times, and old ones go."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from engine.library import Library
from engine.video.write import write_h264
from tests.api.conftest import Ran
from tests.waiting import LONG

FFMPEG = shutil.which("ffmpeg")


@pytest.mark.skipif(not FFMPEG, reason="no ffmpeg")
def test_a_stream_is_searched_and_old_segments_go(tmp_path: Path) -> None:
    clip, data = tmp_path / "clip.mp4", tmp_path / "data"
    images = [np.full((64, 64, 3), 16 + 3 * n, np.uint8) for n in range(60)]
    write_h264(clip, images, 10, gop=10, bframes=0)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = "from api.cli.main import main; main()"
    told = [
        *("live", f"tcp://127.0.0.1:{port}", "--name", "gate", "--seconds", "1", "--json"),
        *("--data", data, "--keep-gb", "0.001", "--strategy", "dense", "--device", "cpu"),
    ]
    assert FFMPEG
    to = f"tcp://127.0.0.1:{port}?listen=1"
    serve = [FFMPEG, "-v", "error", "-i", clip, "-c", "copy", "-f", "mpegts", to]
    with (
        subprocess.Popen(serve) as served,
        subprocess.Popen(
            [sys.executable, "-c", program, *map(str, told)], stdout=subprocess.PIPE, text=True
        ) as ran,
    ):
        assert ran.stdout
        events, stop = [], time.monotonic() + LONG
        while sum(each["event"] == "ingested" for each in events) < 6:
            assert time.monotonic() < stop
            events.append(json.loads(ran.stdout.readline()))
        ran.send_signal(2)
        rest = [json.loads(line) for line in ran.stdout]
        assert ran.wait(LONG) == 0
        served.kill()
    events += rest
    assert [each["event"] for each in events].count("ingested") == 6
    assert "lost" in {each["event"] for each in events}
    delays = [each["delay"] for each in events if each["event"] == "ingested"]
    assert all(delay > -1.5 for delay in delays)
    with Library.open(data, read_only=True) as opened:
        videos = opened.videos()
    assert len(videos) == 6
    assert {video.columns["camera"] for video in videos} == {"gate"}
    lengths = [video.duration_seconds or 0.0 for video in videos]
    assert sum(lengths) == pytest.approx(6.0, abs=0.05)
    times = [video.recorded_at for video in videos]
    assert None not in times
    assert {video.recorded_from for video in videos} == {"given"}
    assert {Path(video.path).parent for video in videos} == {data / "live" / "gate"}


@pytest.mark.skipif(not FFMPEG, reason="no ffmpeg")
def test_it_ends_by_itself(cli: Callable[..., Ran], tmp_path: Path) -> None:
    given = ("--name", "gate", "--for", "0.2", "--data", tmp_path / "data", "--device", "cpu")
    ran = cli("live", "tcp://127.0.0.1:9", *given)
    assert ran.code == 0, ran.err
    assert "lost" in ran.text or ran.text == ""


def test_what_a_killed_one_left_is_taken_in(cli: Callable[..., Ran], tmp_path: Path) -> None:
    folder = tmp_path / "data/live/gate"
    folder.mkdir(parents=True)
    images = [np.full((64, 64, 3), 16 + 3 * n, np.uint8) for n in range(10)]
    for name in ("gate-2026-03-01T12-00-00.250000Z", ".gate-2026-03-01T12-00-01.250000Z", "gate-x"):
        write_h264(folder / f"{name}.mkv", images, 10, bframes=0)
    given = ("--name", "gate", "--for", "0.2", "--data", tmp_path / "data", "--device", "cpu")
    for _ in range(2):  # once, however often it begins
        ran = cli("live", "tcp://127.0.0.1:9", *given)
        assert ran.code == 0, ran.err
        with Library.open(tmp_path / "data", read_only=True) as opened:
            (video,) = opened.videos()
    assert ran.text.count("ingested") == 0
    assert video.name == "gate-2026-03-01T12-00-00.250000Z.mkv"
    assert video.recorded_at == datetime(2026, 3, 1, 12, 0, 0, 250_000)
    assert video.columns["camera"] == "gate"
    kept = sorted(path.name for path in folder.iterdir())
    assert kept == ["gate-2026-03-01T12-00-00.250000Z.mkv", "gate-x.mkv"]


def test_what_is_no_stream(cli: Callable[..., Ran], tmp_path: Path) -> None:
    ran = cli("live", "file:///etc/passwd", "--name", "gate", "--data", tmp_path / "data")
    assert ran.code != 0
    assert "is no stream; allowed: rtsp" in ran.err
    assert not (tmp_path / "data").exists()
