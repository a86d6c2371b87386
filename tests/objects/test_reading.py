"""Videos in a bucket: the same frames as of a file, for few bytes, whatever the network does."""

import random
from pathlib import Path

import numpy as np
import pytest

from engine.errors import CorruptVideoError, UnreachedError, VideoError
from engine.objects.address import read_address
from engine.objects.blocks import BLOCK_BYTES, blocks
from engine.objects.remote import RemoteFile
from engine.video.container import content_hash, file_stamp, probe
from engine.video.decode import decode_range, get_frame_at
from engine.video.gop import index_gops
from engine.video.stills import stills
from engine.video.write import write_h264
from tests.objects.clips import spread, write_clip
from tests.objects.s3 import S3

URL = "s3://bucket/films/street.mp4"


@pytest.fixture
def street(s3: S3, street_clip: Path) -> S3:
    s3.put("films/street.mp4", street_clip.read_bytes())
    return s3


def test_any_part_is_what_the_object_has(s3: S3) -> None:
    content = random.Random(0).randbytes(5 * BLOCK_BYTES + 77)
    s3.put("films/street.mp4", content)
    file, chance = RemoteFile(read_address(URL)), random.Random(1)
    for _ in range(200):
        at, size = chance.randrange(len(content) + 9), chance.choice([0, 1, 16, 70_000, 400_000])
        assert file.seek(at) == at
        assert file.read(size) == content[at : at + size]
        assert file.tell() == max(at, min(at + size, len(content))) or at > len(content)
    assert s3.sent() == len(content)  # each byte once: the rest came from what is kept
    assert file.seek(-5, 2) == len(content) - 5
    assert file.read() == content[-5:]


def test_what_is_kept_is_bounded(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEJAVU_OBJECT_CACHE_BYTES", str(1 << 20))
    content = random.Random(0).randbytes(4 << 20)
    s3.put("films/street.mp4", content)
    for _ in range(2):
        assert RemoteFile(read_address(URL)).read() == content
        assert blocks().size_bytes == sum(map(len, blocks().held.values())) <= 1 << 20
    assert s3.sent() > len(content)


@pytest.mark.parametrize("front", [True, False])
def test_of_ten_gigabytes_little_is_read(
    s3: S3, street_clip: Path, tmp_path: Path, front: bool
) -> None:
    big = tmp_path / "big.mp4"
    samples = spread(street_clip, big, 10 << 30, front=front)
    s3.put("films/big.mp4", big)
    url, gops = "s3://bucket/films/big.mp4", index_gops(street_clip)
    assert index_gops(url) == gops
    # its tables, of four key pictures what tells them, of the first and last group all
    whole = sum(size for _, size in (*samples[:10], *samples[-10:]))
    assert s3.sent() < whole + 4 * 4096 + 16 * BLOCK_BYTES
    s3.asked.clear()
    blocks.cache_clear()
    seen = get_frame_at(url, 3.25, gops=gops)
    assert (seen.image == get_frame_at(street_clip, 3.25, gops=gops).image).all()
    # the index, and of one group of ten pictures the blocks that they lie in, twice at most
    most = 2 * sum(size + 2 * BLOCK_BYTES for _, size in samples[30:40])
    assert s3.sent() < most + (1 << 20)
    assert probe(url).size_bytes == 10 << 30


def test_frames_are_those_of_the_file(street: S3, street_clip: Path) -> None:
    gops = index_gops(URL)
    assert gops == index_gops(street_clip)
    found, expected = (list(decode_range(x, 0, 9, gops=gops)) for x in (URL, street_clip))
    assert len(found) == 60
    assert all((a.image == b.image).all() for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("how", [{}, {"drop": True}, {"short": True}, {"status": 503}])
def test_what_passes_is_asked_again(street: S3, street_clip: Path, how: dict[str, object]) -> None:
    street.fail("^(GET|HEAD)", 2, **how)
    assert index_gops(URL) == index_gops(street_clip)
    assert not any(fault.times for fault in street.faults) or "short" in how


def test_one_who_does_not_answer_is_asked_again(
    street: S3, street_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEJAVU_OBJECT_SECONDS", "0.5")
    monkeypatch.setenv("DEJAVU_OBJECT_TRIES", "100")  # other answers may be late by chance
    street.fail("^GET", 1, delay=1.5)
    assert index_gops(URL) == index_gops(street_clip)


def test_an_end_of_the_network_is_no_end_of_the_video(street: S3, street_clip: Path) -> None:
    gops = index_gops(street_clip)
    frames = decode_range(URL, 0, 9, gops=gops)
    next(frames)
    street.fail("^GET", 10**6)
    blocks.cache_clear()
    with pytest.raises(UnreachedError, match="500 InternalError"):
        list(frames)
    with pytest.raises(UnreachedError):
        index_gops(URL)
    with pytest.raises(UnreachedError):
        list(stills(URL, [0.5, 2.5], gops=gops))


def test_a_change_under_way_is_noticed(s3: S3, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "long.mp4", 20)
    s3.put("films/street.mp4", clip.read_bytes())
    before, gops = content_hash(URL), index_gops(clip)
    frames = decode_range(URL, 0, 20, gops=gops)
    next(frames)
    s3.put("films/street.mp4", write_clip(tmp_path / "other.mp4", 20, seed=1).read_bytes())
    with pytest.raises(VideoError, match="changed"):
        list(frames)
    assert content_hash(URL) != before


def test_a_copy_is_the_same_video_and_another_is_not(street: S3, tmp_path: Path) -> None:
    street.objects["copy.mp4"] = street.objects["films/street.mp4"]
    assert content_hash("s3://bucket/copy.mp4") == content_hash(URL)
    assert file_stamp(read_address("s3://bucket/copy.mp4")) == file_stamp(read_address(URL))
    for etag in ("0x8DD1", "CKih16Gj"):  # made of when it was written, not of what
        street.put("a.mp4", b"1234", etag)
        street.put("b.mp4", b"5678", etag)
        assert content_hash("s3://bucket/a.mp4") != content_hash("s3://bucket/b.mp4")


def test_what_cannot_be_a_video_says_so(s3: S3) -> None:
    s3.put("empty.mp4", b"")
    s3.put("text.mp4", b"no video at all" * 99)
    with pytest.raises(CorruptVideoError, match=r"empty\.mp4 is empty"):
        probe("s3://bucket/empty.mp4")
    with pytest.raises(CorruptVideoError, match="not a video"):
        probe("s3://bucket/text.mp4")
    with pytest.raises(VideoError, match=r"no object s3://bucket/none\.mp4"):
        probe("s3://bucket/none.mp4")


def test_an_index_that_little_is_read_for_is_the_same(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.video.gop.FAR_BYTES", 0)
    clip = tmp_path / "b.mp4"
    for seconds, bframes in ((1, 0), (9, 3)):
        images = np.random.default_rng(1).integers(0, 256, (seconds * 10, 64, 96, 3), np.uint8)
        write_h264(clip, images, 10, gop=9, bframes=bframes, crf=12.0)
        s3.put("b.mp4", clip.read_bytes())
        assert index_gops("s3://bucket/b.mp4") == index_gops(clip)


@pytest.mark.real
def test_real_indexes_are_the_same(
    s3: S3, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.video.gop.FAR_BYTES", 0)
    found = [each for each in sorted(real_data.rglob("*.m*")) if each.suffix in (".mp4", ".mov")]
    usable = 0
    for path in found[::3]:
        try:
            expected = index_gops(path)
        except VideoError:
            continue
        s3.put("real.mp4", path)
        blocks.cache_clear()
        assert index_gops("s3://bucket/real.mp4") == expected, path.name
        usable += 1
    assert usable > 5
