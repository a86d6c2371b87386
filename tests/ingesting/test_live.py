"""Live streams that ffmpeg serves: everything arrives once, drops are survived, bounds hold."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import numpy as np
import pytest

from engine.errors import UsageError
from engine.ingesting import live
from engine.ingesting.live import Keep, LiveBounds, LiveRecorder, LiveSegment, shown_url
from engine.video.write import write_h264
from tests.waiting import LONG, until

FFMPEG = shutil.which("ffmpeg")
needs_ffmpeg = pytest.mark.skipif(not FFMPEG, reason="no ffmpeg")
FRAMES, FPS = 60, 10


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds with a key picture in each; every picture has a grey of its own."""
    path = tmp_path_factory.mktemp("live") / "clip.mp4"
    images = [np.full((64, 64, 3), 16 + 3 * n, np.uint8) for n in range(FRAMES)]
    write_h264(path, images, FPS, gop=FPS, bframes=2)
    return path


@pytest.fixture(autouse=True)
def attempts_follow_each_other_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many fail before the other side is there."""
    monkeypatch.setattr(live, "_FIRST_WAIT", 0.1)
    monkeypatch.setattr(live, "_LONGEST_WAIT", 0.1)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def ffmpeg(clip: Path, to: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Serve a clip to the one who connects, then end."""
    assert FFMPEG
    told = [FFMPEG, "-v", "error", *options, "-i", clip, "-c", "copy", "-f", "mpegts", to]
    with subprocess.Popen(told, stderr=subprocess.PIPE) as served:
        try:
            yield served
        finally:
            served.kill()


def taken(recorder: LiveRecorder, frames: int) -> list[LiveSegment]:
    """Take segments until so many frames are in them."""
    stop, found, seen = time.monotonic() + LONG, list[LiveSegment](), 0
    while seen < frames and time.monotonic() < stop:
        segment = recorder.take(0.2)
        if segment is not None:
            found.append(segment)
            seen += len(greys(segment.path))
    return found


def greys(path: Path) -> list[int]:
    """The grey of each picture of a file, as another program than ours decodes it."""
    assert FFMPEG
    told = [FFMPEG, "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    raw = subprocess.run(told, check=True, capture_output=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, 64 * 64).mean(axis=1).round().tolist()


@needs_ffmpeg
def test_every_picture_comes_once_also_after_a_drop(clip: Path, tmp_path: Path) -> None:
    port, bounds = free_port(), LiveBounds(segment_seconds=2.0, silence_seconds=LONG)
    whole = greys(clip)
    with LiveRecorder(f"tcp://127.0.0.1:{port}", tmp_path, "gate", bounds) as recorder:
        found: list[LiveSegment] = []
        for _ in range(2):  # a connection that ends, and the next
            with ffmpeg(clip, f"tcp://127.0.0.1:{port}?listen=1"):
                found += taken(recorder, FRAMES)
    assert recorder.lost >= 2
    assert recorder.dropped == 0
    pictures = [grey for segment in found for grey in greys(segment.path)]
    assert len(pictures) == 2 * FRAMES
    assert np.abs(np.array(pictures) - np.array(whole * 2)).max() <= 3
    assert len(found) >= 6  # cut at key pictures
    for segment in found:
        with av.open(str(segment.path)) as container:
            first = next(container.demux(video=0))
            assert first.is_keyframe
            assert first.pts == pytest.approx(0, abs=300)
        assert segment.path.name.startswith("gate-2")
        assert segment.seconds <= 3.0
    times = [segment.recorded_at for segment in found]
    assert times == sorted(times)
    assert abs(times[-1] - datetime.now(UTC).replace(tzinfo=None)) < timedelta(minutes=20)


@needs_ffmpeg
def test_a_clock_that_is_set_back_begins_another_segment(clip: Path, tmp_path: Path) -> None:
    assert FFMPEG
    told = [FFMPEG, "-v", "error", "-i", clip, "-c", "copy", "-f", "mpegts", "-"]
    once = subprocess.run(told, check=True, capture_output=True).stdout
    bounds = LiveBounds(segment_seconds=60, silence_seconds=LONG)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with LiveRecorder(url, tmp_path, "gate", bounds) as recorder:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(2 * once)
            listener.close()  # or the next connection would be one that is silent
            found = taken(recorder, 2 * FRAMES)
    assert [len(greys(segment.path)) for segment in found] == [FRAMES, FRAMES]
    times = [segment.recorded_at for segment in found]
    assert times == sorted(times)


def test_pictures_at_the_same_time_are_one_segment(clip: Path, tmp_path: Path) -> None:
    """As a server dates those that it sends at once, after it was stopped for a while."""
    with av.open(str(clip)) as source:
        stream = source.streams.video[0]
        packets = [packet for packet in source.demux(stream) if packet.size]
        for packet in packets[FPS : 3 * FPS]:
            packet.pts = packet.dts = packets[FPS].dts
        writing = live._Writing.begin(tmp_path, "gate", stream)
        for packet in packets[: 3 * FPS]:
            assert not writing.jumps(packet)
            writing.put(packet)
        segment = writing.close(datetime.min)
    assert segment is not None
    with av.open(str(segment.path)) as made:
        assert sum(packet.size > 0 for packet in made.demux(video=0)) == 3 * FPS


@needs_ffmpeg
def test_key_pictures_out_of_turn_make_no_segment_longer(tmp_path: Path) -> None:
    """As an encoder puts them where the scene changes, and as clocks that are not quite even."""
    clip = tmp_path / "clip.mp4"
    keys = {0, 10, 16, 26, 36, 39, 49, 59, 67, 77}  # a second apart, and where the scene changes
    random, images = np.random.default_rng(3), list[np.ndarray]()
    for number in range(80):
        changed = not images or number in {16, 39, 67}
        images.append(random.integers(0, 256, (64, 64, 3), np.uint8) if changed else images[-1])
    write_h264(clip, images, 10, gop=FPS, bframes=0)
    with av.open(str(clip)) as made:
        found = {n for n, packet in enumerate(made.demux(video=0)) if packet.is_keyframe}
    assert found == keys
    with av.open(str(clip)) as source:
        recorder = LiveRecorder("tcp://x", tmp_path / "out", "gate", LiveBounds(1.0))
        recorder.folder.mkdir()
        recorder._record(source)
    lengths = list[float]()
    while (segment := recorder.take(0)) is not None:
        lengths.append(round(segment.seconds + 0.1, 1))  # to the end of its last picture
    assert lengths == [1.0, 0.6, 1.0, 1.0, 1.3, 1.0, 0.8, 1.0, 0.3]


@needs_ffmpeg
def test_who_is_slow_loses_the_oldest(clip: Path, tmp_path: Path) -> None:
    port, bounds = free_port(), LiveBounds(segment_seconds=0.5, waiting=2)
    with LiveRecorder(f"tcp://127.0.0.1:{port}", tmp_path, "gate", bounds) as recorder:
        with ffmpeg(clip, f"tcp://127.0.0.1:{port}?listen=1") as served:
            served.wait(LONG)
            until(lambda: recorder.dropped and recorder.fault)  # all was read
        left = [recorder.take(0), recorder.take(0)]
        assert recorder.take(0) is None
    assert recorder.dropped >= FRAMES // FPS - 2
    assert sorted(tmp_path.iterdir()) == [each.path for each in left if each]
    assert [grey for each in left if each for grey in greys(each.path)][-1] > 16 + 3 * 55


@needs_ffmpeg
def test_silence_is_a_lost_connection(clip: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port, bounds = mute.getsockname()[1], LiveBounds(silence_seconds=0.3)
        with LiveRecorder(f"tcp://127.0.0.1:{port}", tmp_path, "gate", bounds) as recorder:
            until(lambda: recorder.lost)
            assert recorder.fault
    assert list(tmp_path.iterdir()) == []


@needs_ffmpeg
def test_raw_pictures_of_a_device_are_encoded(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the way of v4l2: libav's reader of raw pictures in its place, which needs no camera."""
    monkeypatch.setitem(live.DEVICES, "yuv4mpegpipe", tmp_path)
    assert FFMPEG
    raw = ["-f", "yuv4mpegpipe", "-pix_fmt", "yuv420p", tmp_path / "video0"]
    subprocess.run([FFMPEG, "-v", "error", "-i", clip, *raw], check=True)
    bounds = LiveBounds(segment_seconds=2.0)
    url = f"yuv4mpegpipe://{tmp_path}/video0"
    with LiveRecorder(url, tmp_path / "out", "gate", bounds) as recorder:
        found = taken(recorder, FRAMES)
    pictures = [grey for segment in found for grey in greys(segment.path)]
    assert np.abs(np.array(pictures) - np.array(greys(clip))).max() <= 3
    assert [round(segment.seconds, 2) for segment in found] == [1.9, 1.9, 1.9]
    with av.open(str(found[0].path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert packets[0].stream.codec_context.name == "h264"
    assert [packet.is_keyframe for packet in packets] == [n % FPS == 0 for n in range(2 * FPS)]


def test_a_stream_may_not_read_files(tmp_path: Path) -> None:
    """A playlist that names a file of this machine is not followed."""
    secret = tmp_path / "secret.ts"
    write_h264(secret, [np.full((64, 64, 3), 9, np.uint8)] * 20, 10)
    body = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{secret}\n#EXT-X-ENDLIST\n"
    head = "HTTP/1.0 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/live.m3u8"
        out = tmp_path / "out"
        with LiveRecorder(url, out, "gate", LiveBounds(silence_seconds=LONG)) as recorder:
            listener.settimeout(LONG)
            peer, _ = listener.accept()
            with peer:
                peer.recv(4096)
                peer.sendall((head + body).encode())
            listener.close()  # or the next connection would be one that is silent
            until(lambda: recorder.lost)
            assert recorder.take(0) is None
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "name", "said"),
    [
        ("file:///etc/passwd", "gate", "is no stream; allowed: rtsp"),
        ("/dev/video0", "gate", "is no stream"),
        ("v4l2:///dev/video77", "gate", "no camera '/dev/video77'; allowed: "),
        ("v4l2:///etc/passwd", "gate", "no camera '/etc/passwd'; allowed: "),
        ("concat:a|b", "gate", "is no stream"),
        ("rtsp://a", "../gate", "name '../gate'; allowed"),
        ("rtsp://a", "", "allowed: letters"),
    ],
)
def test_what_is_no_stream_is_refused(tmp_path: Path, url: str, name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("..", r"\.\.")):
        LiveRecorder(url, tmp_path, name, LiveBounds())


def test_bounds_are_positive() -> None:
    with pytest.raises(UsageError, match="waiting 0; allowed: more than 0"):
        LiveBounds(waiting=0)


def test_a_password_is_not_shown() -> None:
    assert shown_url("rtsp://me:secret@cam/1") == "rtsp://cam/1"
    assert shown_url("rtsp://cam/a@b") == "rtsp://cam/a@b"
    assert shown_url("rtsp://me:s@cret@cam:554/1") == "rtsp://cam:554/1"
    assert shown_url("rtsp://me:sec/ret@cam/1") == "rtsp://…"
    assert (
        shown_url("http://[::1]:80/live.m3u8?user=me&pwd=secret") == "http://[::1]:80/live.m3u8?…"
    )
    assert shown_url("http://cam?pwd=secret#secret") == "http://cam?…"
    assert shown_url("v4l2:///dev/video0") == "v4l2:///dev/video0"


def test_what_goes() -> None:
    now = datetime(2026, 3, 1, 12)  # the store's are UTC without a zone
    kept = [(now - timedelta(hours=3 - n), 100) for n in range(4)]
    assert Keep().beyond(kept, now) == 0
    assert Keep(hours=1.5).beyond(kept, now) == 2
    assert Keep(bytes=250).beyond(kept, now) == 2
    assert Keep(bytes=1).beyond(kept, now) == 3  # the newest stays
    assert Keep(hours=0.5, bytes=1000).beyond(kept, now) == 3
