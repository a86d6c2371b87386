"""Any part of a video equals that part of the whole, and damage never stops the rest."""

import gc
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import CorruptVideoError
from engine.video.decode import Damage, Frame, decode_range, get_frame_at
from engine.video.gop import Gop, index_gops
from engine.video.write import write_h264


def decode_all(path: Path, gops: list[Gop], **options) -> list[Frame]:
    return list(decode_range(path, -1e9, 1e9, gops=gops, **options))


def pixels(frames: list[Frame]) -> list[tuple[float, bytes]]:
    return [(frame.seconds, frame.raw.to_ndarray(format="rgb24").tobytes()) for frame in frames]


@given(
    fps=st.sampled_from([10, 24000 / 1001, 25, 30]),
    count=st.integers(1, 40),
    bframes=st.integers(0, 3),
    gop=st.integers(1, 15),
    edges=st.tuples(st.floats(-0.5, 4.5), st.floats(-0.5, 4.5)),
)
@settings(max_examples=25, deadline=None)
def test_any_range_is_a_slice_of_the_whole(fps, count, bframes, gop, edges) -> None:
    rng = np.random.default_rng(count)
    images = [rng.integers(0, 255, (32, 48, 3), dtype=np.uint8) for _ in range(count)]
    start, stop = sorted(edges)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_h264(path, images, fps, bframes=bframes, gop=gop)
        gops = index_gops(path)
        whole = pixels(decode_all(path, gops))
        part = pixels(list(decode_range(path, start, stop, gops=gops)))
    assert [seconds for seconds, _ in whole] == pytest.approx([n / fps for n in range(count)])
    assert part == [frame for frame in whole if start <= frame[0] < stop]


CODECS = {
    "h264 open gop": ("clip.mp4", "libx264", {"g": "12", "bf": "3", "x264-params": "open-gop=1"}),
    "h264 mkv": ("clip.mkv", "libx264", {"g": "12", "bf": "2"}),
    "h264 ts": ("clip.ts", "libx264", {"g": "12", "bf": "2"}),
    "h264 10 bit": ("clip.mp4", "libx264", {"g": "12", "pix_fmt": "yuv420p10le"}),
    "h264 fragmented": ("clip.mp4", "libx264", {"g": "12", "movflags": "frag_keyframe+empty_moov"}),
    "hevc": (
        "clip.mp4",
        "libx265",
        {"x265-params": "keyint=12:log-level=none:pools=none:frame-threads=1"},
    ),
    "vp9": ("clip.webm", "libvpx-vp9", {"g": "12", "deadline": "realtime", "cpu-used": "8"}),
    "av1": ("clip.mkv", "libsvtav1", {"g": "12", "preset": "12"}),
    "mpeg4 avi": ("clip.avi", "mpeg4", {"g": "12"}),
    "mpeg4 b-frames avi": ("clip.avi", "mpeg4", {"g": "12", "bf": "2"}),
    "mpeg2 ts": ("clip.ts", "mpeg2video", {"g": "12", "bf": "2"}),
    "motion jpeg": ("clip.avi", "mjpeg", {"pix_fmt": "yuvj420p"}),
}


@pytest.mark.parametrize("name", CODECS)
def test_every_codec_and_container(
    name, tmp_path, write_clip, numbered_image, number_on, plain_decode
) -> None:
    file, codec, options = CODECS[name]
    path = write_clip(tmp_path / file, codec, map(numbered_image, range(40)), **options)
    gops = index_gops(path)
    frames = decode_all(path, gops)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER  # else one test starves the machine
    assert [number_on(frame.image) for frame in frames] == list(range(40))
    assert not any(frame.corrupt for frame in frames)
    whole = pixels(frames)
    if name != "mpeg4 b-frames avi":  # PyAV alone gives no times there
        assert whole == plain_decode(path)
    for gop in gops:
        part = decode_range(path, gop.start_seconds, gop.stop_seconds, gops=gops)
        expected = [f for f in whole if gop.start_seconds <= f[0] < gop.stop_seconds]
        assert pixels(list(part)) == expected


def test_raw_stream_without_times_counts_frames(
    tmp_path, write_clip, numbered_image, number_on
) -> None:
    path = write_clip(tmp_path / "clip.h264", "libx264", map(numbered_image, range(30)), g="10")
    gops = index_gops(path)
    frames = decode_all(path, gops)
    assert [number_on(frame.image) for frame in frames] == list(range(30))
    assert [f.seconds for f in frames] == pytest.approx([n / 25 for n in range(30)], abs=1e-3)
    part = list(decode_range(path, 0.4, 0.8, gops=gops))
    assert [number_on(frame.image) for frame in part] == list(range(10, 20))


def test_odd_sides_and_full_chroma(tmp_path, write_clip, numbered_image) -> None:
    images = [numbered_image(number, (31, 129)) for number in range(3)]
    path = write_clip(tmp_path / "clip.mp4", "libx264", images, pix_fmt="yuv444p")
    assert decode_all(path, index_gops(path))[0].image.shape == (31, 129, 3)


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_rotated_pictures_come_upright(degrees, tmp_path, write_clip) -> None:
    image = np.zeros((32, 64, 3), np.uint8)
    image[:16, :32] = 250
    path = write_clip(tmp_path / "clip.mp4", "libx264", [image], rotation=degrees)
    shown = decode_all(path, index_gops(path))[0].image
    expected = np.rot90(image, degrees // 90)
    assert shown.shape == expected.shape
    assert np.abs(shown.astype(int) - expected).mean() < 10


def test_interlaced_pictures_show_one_field(tmp_path, write_clip) -> None:
    image = np.zeros((32, 64, 3), np.uint8)
    image[1::2] = 255
    options = {"x264-params": "tff=1"}
    path = write_clip(tmp_path / "clip.mp4", "libx264", [image] * 4, **options)
    frame = decode_all(path, index_gops(path))[0]
    assert frame.raw.interlaced_frame
    assert np.array_equal(frame.image[1::2], frame.image[::2])


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 0.039, 0.04, 1.23, 2.39, 99.0])
def test_frame_on_screen(seconds, clip, number_on) -> None:
    frame = get_frame_at(clip, seconds, gops=index_gops(clip))
    assert number_on(frame.image) == np.clip(np.floor(seconds * 25 + 1e-6), 0, 59)


def test_only_the_groups_needed_are_read(clip) -> None:
    gops = index_gops(clip)
    frames = decode_range(clip, gops[2].start_seconds, gops[2].stop_seconds, gops=gops)
    first = next(frames)
    assert first.key
    assert first.seconds == gops[2].start_seconds


def test_threads_change_nothing(clip) -> None:
    gops = index_gops(clip)
    assert pixels(decode_all(clip, gops, threads=4)) == pixels(decode_all(clip, gops))


def damaged(clip: Path, out: Path, first: float, last: float) -> Path:
    """Overwrite a part of a file with noise, the header and the index left alone."""
    data = bytearray(clip.read_bytes())
    start, stop = int(len(data) * first), int(len(data) * last)
    data[start:stop] = np.random.default_rng(0).bytes(stop - start)
    out.write_bytes(data)
    return out


def test_damage_in_the_middle_is_noted_and_the_rest_comes(tmp_path, write_clip) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(60)]
    clip = write_clip(
        tmp_path / "whole.mp4", "libx264", images, g="10", bf="0", movflags="faststart"
    )
    path = damaged(clip, tmp_path / "hurt.mp4", 0.45, 0.55)
    gops, damage = index_gops(path), list[Damage]()
    clean = pixels([f for f in decode_all(path, gops, damage=damage) if not f.corrupt])
    whole = pixels(decode_all(clip, index_gops(clip)))
    assert {seconds for seconds, _ in clean} < {seconds for seconds, _ in whole}
    assert [f for f in clean if f[0] < 0.8 or f[0] > 1.7] == [
        f for f in whole if f[0] < 0.8 or f[0] > 1.7
    ]
    assert damage
    assert all(0.8 <= note.seconds <= 1.7 for note in damage)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_file_gives_what_is_there(share, tmp_path, write_clip) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(60)]
    whole = write_clip(tmp_path / "whole.mkv", "libx264", images, g="10", bf="0")
    data = whole.read_bytes()
    path = tmp_path / "cut.mkv"
    path.write_bytes(data[: int(len(data) * share)])
    frames = [f for f in decode_all(path, index_gops(path)) if not f.corrupt]
    expected = pixels(decode_all(whole, index_gops(whole)))
    assert 0 < len(frames) < 60
    assert pixels(frames) == expected[: len(frames)]


def test_nothing_decodable_is_an_error(clip, tmp_path) -> None:
    path = damaged(clip, tmp_path / "hurt.mp4", 0.01, 0.5)
    gops = [Gop(0, 0.0, 2.4, 60, 0)]
    with pytest.raises(CorruptVideoError):
        get_frame_at(path, 1.0, gops=gops)


def test_libav_stays_silent(clip, capfd) -> None:
    decode_all(clip, index_gops(clip))
    assert capfd.readouterr() == ("", "")
    assert av.logging.get_level() is None


def test_pictures_that_were_looked_at_do_not_stay(tmp_path: Path) -> None:
    images = [np.full((32, 48, 3), number, np.uint8) for number in range(40)]
    write_h264(tmp_path / "clip.mp4", images, 10, gop=20)
    gops = index_gops(tmp_path / "clip.mp4")
    before = held_pictures()
    gc.disable()
    try:
        for frame in decode_range(tmp_path / "clip.mp4", 0, 4, gops=gops):
            assert frame.image.shape == (32, 48, 3)
        del frame
        assert held_pictures() - before <= 2 * len(gops)  # those of key pictures, for a while
    finally:
        gc.enable()


def held_pictures() -> int:
    """How many raw pictures are in memory."""
    return sum(type(item) is av.VideoFrame for item in gc.get_objects())


@pytest.mark.parametrize(
    ("size", "tagged"), [((720, 1280), False), ((360, 640), False), ((720, 1280), True)]
)
def test_colours_are_right_whether_said_or_not(tmp_path, size, tagged) -> None:
    image = np.zeros((*size, 3), np.uint8)
    image[:] = (200, 40, 90)
    path = tmp_path / "clip.mp4"
    if tagged:
        write_h264(path, [image] * 3, 25)
    else:
        coded = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709 if size[0] > 576 else Colorspace.ITU601,
        )
        planes = coded.to_ndarray()
        write_planes(path, planes, size)
    frame = next(decode_range(path, 0, 9, gops=index_gops(path)))
    assert (frame.raw.colorspace == 2) != tagged
    assert np.abs(frame.image.astype(int) - (200, 40, 90)).max() <= 4


def write_planes(path: Path, planes: np.ndarray, size: tuple[int, int]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
