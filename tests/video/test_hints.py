"""Codec cues say where things move."""

import numpy as np
import pytest

from engine.errors import UnsupportedCodecError
from engine.video.decode import decode_range
from engine.video.gop import index_gops
from engine.video.hints import codec_hints


def moving_square(number: int, size: tuple[int, int] = (224, 224)) -> np.ndarray:
    """A textured square that goes four pixels to the right with every frame."""
    texture = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    image = np.full((*size, 3), 90, np.uint8)
    left = 20 + 4 * number
    image[64:128, left : left + 64] = texture.repeat(8, 0).repeat(8, 1)
    return image


def hints_of(path, threads: int = 1, **options) -> list[tuple[str, np.ndarray]]:
    frames = decode_range(path, -1, 99, gops=index_gops(path), cues=True, threads=threads)
    return [(frame.picture, codec_hints(frame, 14, **options)) for frame in frames]


@pytest.mark.parametrize(("codec", "bf"), [("libx264", "0"), ("libx264", "2"), ("mpeg4", "0")])
def test_motion_where_the_square_is(codec, bf, tmp_path, write_clip) -> None:
    path = write_clip(tmp_path / "clip.mp4", codec, map(moving_square, range(12)), bf=bf, g="12")
    found = hints_of(path)
    assert all(maps.shape == (4, 14, 14) for _, maps in found)
    assert {picture for picture, _ in found} == ({"I", "P"} if bf == "0" else {"I", "P", "B"})
    for picture, maps in found:
        kind, across, down, quantiser = maps
        assert (quantiser >= 0).all()
        if picture == "I":
            assert (kind == 6).all()
            assert not across.any()
            continue
        assert np.abs(across[:3]).max() == 0
        assert across[5:7].max() >= 0.24  # four pixels or more of a sixteen-pixel cell
        assert across.min() >= -0.2
        assert np.abs(down).max() < 0.5


def test_threads_give_the_cues_of_the_picture_itself(tmp_path, write_clip) -> None:
    path = write_clip(tmp_path / "clip.mp4", "libx264", map(moving_square, range(24)), bf="3")
    exact = np.stack([maps for _, maps in hints_of(path)])
    for _ in range(6):
        assert np.array_equal(np.stack([maps for _, maps in hints_of(path, threads=8)]), exact)


def test_rotated_cues_are_upright(tmp_path, write_clip) -> None:
    images = list(map(moving_square, range(8)))
    plain = write_clip(tmp_path / "plain.mp4", "libx264", images, bf="0")
    turned = write_clip(tmp_path / "turned.mp4", "libx264", images, bf="0", rotation=90)
    for (_, maps), (_, other) in zip(hints_of(plain), hints_of(turned), strict=True):
        expected = np.rot90(maps, axes=(1, 2))
        assert np.allclose(other[[0, 3]], expected[[0, 3]])
        assert np.allclose(other[2], -expected[1])  # right becomes up
        assert np.allclose(other[1], expected[2])


def test_crop_and_squash(tmp_path, write_clip) -> None:
    images = [moving_square(number, (224, 448)) for number in range(4)]
    path = write_clip(tmp_path / "clip.mp4", "libx264", images, bf="0")
    cropped, squashed = hints_of(path)[2][1], hints_of(path, fit="squash")[2][1]
    assert not cropped[1, :, 4:].any()  # the square is at the left, mostly outside the centre
    assert squashed[1, 4:8, 1:3].max() == pytest.approx(4 / 448 * 14, rel=0.05)


@pytest.mark.parametrize(("file", "codec"), [("clip.mp4", "libx265"), ("clip.webm", "libvpx-vp9")])
def test_codecs_without_cues_fail(file, codec, tmp_path, write_clip) -> None:
    options = (
        {"x265-params": "log-level=none:pools=none:frame-threads=1"}
        if codec == "libx265"
        else {"deadline": "realtime"}
    )
    path = write_clip(tmp_path / file, codec, map(moving_square, range(3)), **options)
    with pytest.raises(UnsupportedCodecError, match="no codec cues"):
        hints_of(path)


def test_frames_decoded_without_cues_fail(clip) -> None:
    frame = next(decode_range(clip, 0, 9, gops=index_gops(clip)))
    with pytest.raises(UnsupportedCodecError, match="decoded with cues"):
        codec_hints(frame, 14)
