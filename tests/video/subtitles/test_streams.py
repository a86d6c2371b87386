"""Text streams of a video, coded in every way that FFmpeg writes."""

import shutil
import subprocess
from pathlib import Path

import pytest

from engine.video.subtitles.beside import read_file
from engine.video.subtitles.streams import read_streams, text_streams

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")

SUBRIP = """\
1
00:00:00,500 --> 00:00:01,250
The <i>red</i> car, left

2
00:00:01,250 --> 00:00:02,000
Grüße aus 東京
& more, {not a mark}

3
00:00:04,000 --> 00:00:05,500
last
"""


@pytest.mark.parametrize(
    ("coding", "suffix"),
    [("mov_text", "mp4"), ("subrip", "mkv"), ("webvtt", "mkv"), ("ass", "mkv")],
)
def test_streams_say_what_the_file_said(tmp_path: Path, coding: str, suffix: str) -> None:
    (tmp_path / "x.srt").write_text(SUBRIP)
    path = tmp_path / f"x.{suffix}"
    command = (
        f"ffmpeg -v error -f lavfi -i color=size=32x32:rate=5:duration=6 -i {tmp_path}/x.srt"
        f" -i {tmp_path}/x.srt -map 0 -map 1 -map 2 -c:v mpeg4 -c:s {coding}"
        f" -metadata:s:s:0 language=ger {path}"
    )
    subprocess.run(command.split(), check=True)
    assert [stream.language for stream in text_streams(path)] == ["ger", None]
    expected, _ = read_file("x.srt", SUBRIP.encode())
    found = list(read_streams(path))
    assert [stream.source for stream, _ in found] == ["stream 1", "stream 2"]
    for _, reading in found:
        assert [line.text for line in reading.lines] == [line.text for line in expected.lines]
        for line, same in zip(reading.lines, expected.lines, strict=True):
            times = line.start_seconds, line.stop_seconds
            assert times == pytest.approx((same.start_seconds, same.stop_seconds), abs=0.011)
        assert reading.damaged == 0


def test_a_video_without_text_has_none(clip: Path) -> None:
    assert text_streams(clip) == []
    assert list(read_streams(clip)) == []
