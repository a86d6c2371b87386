"""A header that claims what the file does not hold costs nothing."""

from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from struct import pack

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import CorruptVideoError
from engine.video.boxes import boxes
from engine.video.container import probe
from engine.video.gop import index_gops
from tests.peak import Peak
from tests.torture.hostile import sound_clip

CLAIMS = (2_000_000, 40_000_000, 89_000_000, 0xFFFFFFFF)


def put(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + pack(">I", value) + data[at + 4 :]


def equal_sizes(data: bytes, count: int) -> bytes:
    """So many samples of one byte each, all in the first chunk."""
    at = data.index(b"stsz")
    return put(put(put(data, at + 8, 1), at + 12, count), data.index(b"stsc") + 16, count)


def bare_fragment(data: bytes, count: int) -> bytes:
    """A fragment more, of so many samples of which nothing is said."""
    head = pack(">I4sII", 16, b"mfhd", 0, 9)
    track = pack(">I4sIIII", 24, b"tfhd", 0x18, 1, 1, 1)
    run = pack(">I4sII", 16, b"trun", 0, count)
    inner = pack(">I4s", 8 + len(track) + len(run), b"traf") + track + run
    return data + pack(">I4s", 8 + len(head) + len(inner), b"moof") + head + inner


def grown(data: bytes, kind: bytes, by: int) -> bytes:
    at = data.index(kind) - 4
    return put(data, at, int.from_bytes(data[at : at + 4], "big") + by)


def edited(data: bytes, count: int) -> bytes:
    """So many edits, each of which shows the end of the whole."""
    at = data.index(b"edts") - 4
    old = int.from_bytes(data[at : at + 4], "big")
    entries = pack(">IiI", 1, 2000, 0x10000) * min(count, 100_000)
    listed = pack(">I4sII", 16 + len(entries), b"elst", 0, count) + entries
    new = pack(">I4s", 8 + len(listed), b"edts") + listed
    for kind in (b"moov", b"trak"):
        data = grown(data, kind, len(new) - old)
    at = data.index(b"edts") - 4
    return data[:at] + new + data[at + old :]


@pytest.mark.parametrize("count", CLAIMS)
@pytest.mark.parametrize("spoil", [edited, equal_sizes, bare_fragment])
def test_claimed_samples_take_no_memory(
    spoil: Callable[[bytes, int], bytes], count: int, tmp_path: Path
) -> None:
    path = sound_clip(tmp_path / "sound.mp4")
    path.write_bytes(spoil(path.read_bytes(), count))
    peak = Peak()
    with pytest.raises(CorruptVideoError, match="claims"):
        probe(path)
    assert peak.grown() < 50 << 20


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_sound_of_many_samples_is_no_claim(suffix: str, tmp_path: Path) -> None:
    """Two minutes of PCM have more samples than is free, each of two bytes."""
    path = tmp_path / f"long.{suffix}"
    with av.open(str(path), "w", format="mov") as container:
        video = container.add_stream("libx264", rate=1)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=44_100)
        for at in range(2):
            picture = np.full((48, 64, 3), at, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(video.encode(frame))
        for at in range(120):
            silence = np.zeros((1, 44_100 * 2), np.int16)
            sound = av.AudioFrame.from_ndarray(silence, format="s16", layout="stereo")
            sound.sample_rate, sound.pts, sound.time_base = 44_100, at * 44_100, Fraction(1, 44_100)
            container.mux(audio.encode(sound))
        for stream in (video, audio):
            container.mux(stream.encode(None))
    assert probe(path).audio
    assert index_gops(path)


@given(st.binary(max_size=400))
def test_boxes_of_any_bytes_end(data: bytes) -> None:
    found = list(boxes(BytesIO(data), 0, len(data)))
    assert len(found) <= len(data) // 8 + 1
    assert all(8 <= box.start <= box.stop <= len(data) for box in found)


def test_too_many_boxes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.video.boxes.MOST_BOXES", 1000)
    path = tmp_path / "boxes.mp4"
    path.write_bytes(pack(">I4s", 8, b"free") * 1001)
    with pytest.raises(CorruptVideoError, match="boxes"):
        probe(path)
