"""What is written comes back at the times asked for."""

from fractions import Fraction

import av
import numpy as np
import pytest

from engine.errors import UsageError, VideoError
from engine.video.container import probe
from engine.video.decode import decode_range
from engine.video.gop import index_gops
from engine.video.write import H264, ClipRecipe, cut_clip, write_h264, write_timed


@pytest.mark.parametrize("fps", [1, 10, 25, Fraction(30000, 1001), 23.976])
@pytest.mark.parametrize("bframes", [0, 2])
def test_exact_rate(fps, bframes, tmp_path, numbered_image, number_on) -> None:
    path = tmp_path / "clip.mp4"
    count = write_h264(path, map(numbered_image, range(20)), fps, bframes=bframes)
    frames = list(decode_range(path, -1, 99, gops=index_gops(path)))
    assert count == 20
    assert [number_on(frame.image) for frame in frames] == list(range(20))
    assert [f.seconds for f in frames] == pytest.approx([n / float(fps) for n in range(20)])


@pytest.mark.parametrize("bframes", [0, 1, 3])
def test_b_frames(bframes, tmp_path, numbered_image) -> None:
    path = tmp_path / "clip.mp4"
    write_h264(path, [numbered_image(0)] * 13, 10, bframes=bframes)
    pictures = [frame.picture for frame in decode_range(path, -1, 99, gops=index_gops(path))]
    assert pictures == ["I", *(["B"] * bframes + ["P"]) * (12 // (bframes + 1))]


def test_same_frames_same_bytes(tmp_path, numbered_image) -> None:
    for name in ("one.mp4", "two.mp4"):
        write_h264(tmp_path / name, map(numbered_image, range(10)), 10)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


def test_index_comes_first(tmp_path, numbered_image) -> None:
    path = tmp_path / "clip.mp4"
    write_h264(path, [numbered_image(0)], 10)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_variable_rate(tmp_path, numbered_image) -> None:
    path, times = tmp_path / "clip.mp4", [1.0, 1.5, 1.6, 3.25]
    write_timed(path, [(seconds, numbered_image(0)) for seconds in times])
    frames = decode_range(path, -1, 99, gops=index_gops(path))
    assert [frame.seconds for frame in frames] == pytest.approx(times, abs=1e-4)


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([], "no frames"),
        ([np.zeros((31, 32, 3), np.uint8)], "even sides, got 32x31"),
        ([np.zeros((32, 32, 3), np.uint8), np.zeros((32, 64, 3), np.uint8)], "frame 1 is 64x32"),
    ],
)
def test_unusable_frames_fail_and_leave_no_file(frames, reason, tmp_path) -> None:
    with pytest.raises(UsageError, match=reason):
        write_h264(tmp_path / "clip.mp4", frames, 10)
    assert list(tmp_path.iterdir()) == []


def test_falling_times_fail(tmp_path, numbered_image) -> None:
    with pytest.raises(UsageError, match="times must rise"):
        write_timed(tmp_path / "clip.mp4", [(1.0, numbered_image(0)), (1.0, numbered_image(1))])


def test_unwritable_place_fails(tmp_path, numbered_image) -> None:
    with pytest.raises(VideoError, match="cannot write"):
        write_h264(tmp_path / "none" / "clip.mp4", [numbered_image(0)], 10)


def test_cut_clip(clip, tmp_path, number_on) -> None:
    out = tmp_path / "out.mp4"
    assert cut_clip(clip, 0.5, 1.5, out, gops=index_gops(clip)) == 25
    frames = list(decode_range(out, -1, 99, gops=index_gops(out)))
    assert [number_on(frame.image) for frame in frames] == list(range(13, 38))
    assert frames[0].seconds == 0
    assert frames[-1].seconds == pytest.approx(24 / 25, abs=1e-4)
    with av.open(str(out)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"


def test_cut_clip_is_upright_even_and_small(tmp_path, write_clip, numbered_image) -> None:
    images = [numbered_image(n, (49, 401)) for n in range(5)]
    options = {"pix_fmt": "yuv444p", "rotation": 90}
    path = write_clip(tmp_path / "clip.mp4", "libx264", images, **options)
    out = tmp_path / "out.mp4"
    recipe = ClipRecipe(H264(), max_side=200)
    cut_clip(path, 0, 1, out, gops=index_gops(path), recipe=recipe)
    info = probe(out)
    assert (info.width, info.height, info.rotation) == (24, 200, 0)


def test_clip_of_nothing_fails(clip, tmp_path) -> None:
    with pytest.raises(UsageError, match="must end after it starts"):
        cut_clip(clip, 2, 1, tmp_path / "out.mp4", gops=index_gops(clip))
    with pytest.raises(UsageError, match="no frames"):
        cut_clip(clip, 50, 60, tmp_path / "out.mp4", gops=index_gops(clip))
