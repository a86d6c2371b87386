"""What a file says about itself, and why it is refused."""

import hashlib
import os
import threading

import pytest

from engine.errors import CorruptVideoError, UsageError, VideoError
from engine.video.container import content_hash, open_video, probe, reading


def test_probe(clip) -> None:
    info = probe(clip)
    assert (info.codec, info.width, info.height, info.rotation) == ("h264", 128, 48, 0)
    assert (info.fps, info.duration_seconds, info.start_seconds) == (25, 2.4, 0)
    assert (info.num_frames, info.audio, info.pixel_format) == (60, False, "yuv420p")
    assert info.size_bytes == clip.stat().st_size


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_probe_sees_rotation(degrees, tmp_path, write_clip, numbered_image) -> None:
    path = write_clip(tmp_path / "clip.mov", "libx264", [numbered_image(0)], rotation=degrees)
    info = probe(path)
    assert abs(info.rotation) == 180 if degrees == 180 else info.rotation == degrees
    assert (info.width, info.height) == ((128, 48) if degrees == 180 else (48, 128))


def test_name_like_an_address(tmp_path, clip, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "http:clip.mp4").write_bytes(clip.read_bytes())
    assert probe("http:clip.mp4").width == 128


PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{}\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.mp4", b"", "is empty"),
        ("text.mp4", b"hello world\n" * 100, "is not a video"),
        ("text.txt", b"hello world\n" * 100, "is not a video"),
        ("list.m3u8", PLAYLIST.format("clip.ts").encode(), "is not a video"),
        ("list.mp4", b"ffconcat version 1.0\nfile clip.mp4\n", "is not a video"),
        ("picture.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "is not a video"),
    ],
)
def test_refused_with_a_reason(name, content, reason, tmp_path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CorruptVideoError, match=reason) as caught:
        probe(path)
    assert caught.value.path == str(path)


def test_header_cut_off_fails(clip, tmp_path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(clip.read_bytes()[:2000])
    with pytest.raises(CorruptVideoError, match="header is damaged"):
        probe(path)


def test_sound_alone_fails(tmp_path) -> None:
    samples = b"\0\0" * 8000
    header = (
        b"RIFF" + (36 + len(samples)).to_bytes(4, "little") + b"WAVEfmt \x10\0\0\0\1\0\1\0"
        b"\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data" + len(samples).to_bytes(4, "little")
    )
    path = tmp_path / "sound.avi"
    path.write_bytes(header + samples)
    with pytest.raises(VideoError, match="not a video"):
        probe(path)


def test_sound_in_a_video_container_fails(tmp_path) -> None:
    import av

    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.rate = 8000
        frame.planes[0].update(bytes(4096))
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(VideoError, match="no video stream; it holds audio"):
        probe(path)


def test_folders_and_absent_files_fail(tmp_path) -> None:
    with pytest.raises(VideoError, match="is a folder"):
        probe(tmp_path)
    with pytest.raises(VideoError, match="cannot be read: No such file"):
        probe(tmp_path / "none.mp4")
    with pytest.raises(VideoError, match="cannot be read: No such file"):
        content_hash(tmp_path / "none.mp4")


@pytest.mark.skipif(os.geteuid() == 0, reason="the super-user may read everything")
def test_unreadable_file_fails(tmp_path, clip) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip.read_bytes())
    path.chmod(0)
    with pytest.raises(VideoError, match="Permission denied"):
        probe(path)


def test_content_hash(clip) -> None:
    assert content_hash(clip) == hashlib.sha256(clip.read_bytes()).hexdigest()


def test_a_file_that_grows_while_it_is_hashed_fails(tmp_path) -> None:
    """It is not followed for ever, however fast it grows."""
    path = tmp_path / "clip.mp4"
    path.touch()
    os.truncate(path, 1 << 27)
    hashed, begun = threading.Event(), threading.Event()

    def feed() -> None:
        with path.open("ab", buffering=0) as file:
            while not hashed.is_set():
                file.write(bytes(1 << 12))
                begun.set()

    writer = threading.Thread(target=feed)
    writer.start()
    begun.wait()
    try:
        with pytest.raises(VideoError, match="changed while it was read"):
            content_hash(path)
    finally:
        hashed.set()
        writer.join()


@pytest.mark.parametrize("read", [content_hash, probe])
def test_pipes_and_devices_are_not_read(tmp_path, read) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "zeros.mp4").symlink_to("/dev/zero")
    for name in ("pipe.mp4", "zeros.mp4"):
        with pytest.raises(VideoError, match=f"{name} is no regular file"):
            read(tmp_path / name)


def test_whatever_a_file_raises_is_a_reason_that_names_it(tmp_path) -> None:
    path = tmp_path / "clip.mp4"
    for error in (ZeroDivisionError("Fraction(1, 0)"), RecursionError(), MemoryError("a\nb")):
        said = f"clip.mp4 cannot be read: {type(error).__name__}"
        with pytest.raises(CorruptVideoError, match=said), reading(path):
            raise error
    with pytest.raises(UsageError), reading(path):
        raise UsageError("an error of the caller stays one")
    with pytest.raises(KeyboardInterrupt), reading(path):
        raise KeyboardInterrupt


def test_containers_are_closed(clip) -> None:
    with open_video(clip) as (container, stream):
        assert stream.frames == 60
    with pytest.raises(AssertionError, match="not open"):
        container.seek(0)
