"""Groups of pictures cover the timeline without gap or overlap."""

from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import CorruptVideoError
from engine.video.decode import decode_range
from engine.video.gop import gop_at, index_gops
from engine.video.write import write_timed


@given(
    steps=st.lists(st.integers(1, 40), min_size=1, max_size=40),
    start=st.sampled_from([0.0, 1.0, 8.5]),
    suffix=st.sampled_from([".mp4", ".mkv", ".ts"]),
)
@settings(max_examples=25, deadline=None)
def test_groups_partition_the_timeline(steps, start, suffix) -> None:
    times = start + np.cumsum([0, *steps]) / 50
    images = np.random.default_rng(0).integers(0, 255, (len(times), 64, 96, 3), dtype=np.uint8)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"clip{suffix}"
        write_timed(path, zip(times, images, strict=True))
        gops = index_gops(path)
        frames = list(decode_range(path, -1e9, 1e9, gops=gops))
    shown = [frame.seconds for frame in frames]
    assert len(shown) == len(times)
    assert np.diff(shown) == pytest.approx(np.diff(times), abs=2e-3)
    assert all(one.stop_seconds == two.start_seconds for one, two in pairwise(gops))
    assert [gop.index for gop in gops] == list(range(len(gops)))
    assert gops[0].start_seconds == shown[0]
    assert gops[-1].stop_seconds > shown[-1]
    assert sum(gop.num_packets for gop in gops) == len(times)
    keys = [frame.seconds for frame in frames if frame.key]
    assert [gop.start_seconds for gop in gops] == keys


def test_index_and_packets_agree(clip, tmp_path, write_clip, numbered_image) -> None:
    options = {"g": "15", "bf": "2", "sc_threshold": "0"}
    fragmented = write_clip(
        tmp_path / "clip.mp4",
        "libx264",
        map(numbered_image, range(60)),
        movflags="frag_keyframe+empty_moov",
        **options,
    )
    by_index, by_packets = index_gops(clip), index_gops(fragmented)
    assert [gop.num_packets for gop in by_index] == [15, 15, 15, 15]
    assert [gop.num_packets for gop in by_packets] == [15, 15, 15, 15]
    shift = by_packets[0].start_seconds  # no edit list hides the decoder's delay
    assert [g.stop_seconds for g in by_index] == pytest.approx(
        [g.stop_seconds - shift for g in by_packets]
    )


def test_group_at_an_instant(clip) -> None:
    gops = index_gops(clip)
    edges = [gop.start_seconds for gop in gops]
    assert [gop_at(gops, seconds) for seconds in edges] == [0, 1, 2, 3]
    assert [gop_at(gops, seconds - 1e-9) for seconds in edges] == [0, 0, 1, 2]
    assert gop_at(gops, 99) == 3


def test_index_that_promises_too_much_is_not_believed(tmp_path, write_clip) -> None:
    images = np.random.default_rng(0).integers(0, 255, (60, 48, 64, 3), dtype=np.uint8)
    whole = write_clip(
        tmp_path / "whole.mp4", "libx264", images, g="10", bf="0", movflags="faststart"
    )
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert index_gops(path)[-1].stop_seconds < index_gops(whole)[-1].stop_seconds


def test_no_pictures_fails(tmp_path, clip) -> None:
    head = clip.read_bytes()
    path = tmp_path / "head.mkv"
    path.write_bytes(head[:100])
    with pytest.raises(CorruptVideoError):
        index_gops(path)
