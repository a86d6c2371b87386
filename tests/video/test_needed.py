"""What nothing looked at is built on is not decoded, and what is looked at stays as it is."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.video import decode
from engine.video.decode import decode_range
from engine.video.gop import index_gops, packets_of
from engine.video.needed import needed
from engine.video.sample import get_frames_at, sample_frames, sample_times
from engine.video.skip import REORDERED


@dataclass
class Packet:
    """As much of a packet as is asked of it."""

    pts: int
    is_keyframe: bool
    dts: int | None = None


def texture(number: int) -> np.ndarray:
    image = np.random.default_rng(number // 3).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    image[:, : 1 + number % 8] = number % 250
    return image.repeat(16, 0).repeat(16, 1)


@settings(suppress_health_check=[HealthCheck.too_slow])  # says how busy the machine is
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    instants=st.lists(st.integers(0, 240), max_size=8, unique=True),
)
def test_a_group_ends_with_its_last_looked_picture(sizes, instants) -> None:
    edges = np.cumsum([0, *sizes]).tolist()
    packets = [Packet(number, number in edges) for number in range(edges[-1])]
    times = sorted(each / 25 for each in instants)
    stops = {start: stop / 25 for start, stop in pairwise(edges)}

    def looked(start: float, stop: float) -> bool:
        return any(start <= each < stop for each in times)

    kept = list(needed(((each, False) for each in packets), looked, stops, inf, 1, 25))
    wanted = [0]  # the first of all is always there
    for start, stop in pairwise(edges):
        own = [each for each in instants if start <= each < stop]
        wanted += [each for each in range(start, max(own, default=start - 1) + 1) if each]
    assert [each.pts for each, _ in kept if each] == wanted
    fed = [None if each is None else each.pts for each, _ in kept]
    for at, pts in enumerate(fed):
        if pts and pts - 1 not in fed:
            assert fed[at - 1] is None  # begun anew, at a key picture
            assert pts in edges


def test_groups_of_unknown_end_are_kept() -> None:
    packets = [Packet(number, number % 10 == 0) for number in range(30)]
    judged = ((each, False) for each in packets)
    kept = list(needed(judged, lambda *_: False, {10: 0.8}, inf, 1, 25))
    assert [each.pts for each, _ in kept if each] == [*range(10), *range(20, 30)]


@pytest.mark.parametrize("until", [0.5, 0.9, 5.0])
def test_what_comes_after_all_that_is_looked_at_is_not_read(until: float) -> None:
    read = iter(range(10_000))
    judged = ((Packet(number, number % 10 == 0), False) for number in read)
    stops = {start: (start + 10) / 25 for start in range(0, 10_000, 10)}
    kept = list(needed(judged, lambda start, stop: start <= 0.2 < stop, stops, until, 1, 25))
    assert [each.pts for each, _ in kept if each] == [*range(6)]
    assert next(read) <= until * 25 + 10 + 2 * REORDERED


def test_a_group_of_a_long_file_is_read_alone(tmp_path: Path, write_clip, monkeypatch) -> None:
    path = write_clip(tmp_path / "clip.mp4", "libx264", map(texture, range(400)), g="20")
    gops = index_gops(path)
    read = list[int]()

    def counted(*given: Any) -> Iterator[Any]:
        for packet in packets_of(*given):
            read.append(packet.pts)
            yield packet

    monkeypatch.setattr(decode, "packets_of", counted)
    seconds = [gops[number].start_seconds + 0.2 for number in (2, 5)]
    assert [at for at, _ in get_frames_at(path, seconds, gops=gops)] == [0, 1]
    assert len(read) < 2 * (2 * 20 + 2 * REORDERED)


CODED = {
    "closed": ("libx264", {"bf": "2", "sc_threshold": "0"}),
    "open": ("libx264", {"bf": "3", "x264-params": "open-gop=1:scenecut=0"}),
    "creeping": ("libx264", {"bf": "0", "x264-params": "intra-refresh=1:scenecut=0"}),
    "hevc": ("libx265", {"x265-params": "bframes=3:open-gop=1:scenecut=0:log-level=none"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
}


@pytest.mark.parametrize("how", CODED)
@pytest.mark.parametrize("fps", [0.4, 1, 2.3])
def test_sampled_frames_are_the_same(tmp_path: Path, write_clip, how: str, fps: float) -> None:
    codec, options = CODED[how]
    path = write_clip(
        tmp_path / "clip.mkv", codec, map(texture, range(120)), g="20", keyint_min="20", **options
    )
    gops = index_gops(path)
    times = sample_times(gops[0].start_seconds, gops[-1].stop_seconds, fps)
    found, counts = [], []
    for looked in (None, times.any_in):
        frames = list(decode_range(path, 0, 99, gops=gops, looked=looked))
        counts.append(len(frames))
        found.append(
            [(f.number, f.seconds, f.corrupt, f.image.tobytes())
             for f in sample_frames(frames, times)]
        )  # fmt: skip
    assert found[0] == found[1]
    assert counts[0] == 120
    assert counts[1] < 120 if how != "creeping" else counts[1] <= 120
