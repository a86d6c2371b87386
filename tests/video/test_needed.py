"""What nothing looked at is built on is not decoded, and what is looked at stays as it is."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.video.decode import decode_range
from engine.video.gop import index_gops
from engine.video.needed import needed
from engine.video.sample import sample_frames, sample_times


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

    kept = list(needed(((each, False) for each in packets), looked, stops, 1, 25))
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
    kept = list(needed(judged, lambda *_: False, {10: 0.8}, 1, 25))
    assert [each.pts for each, _ in kept if each] == [*range(10), *range(20, 30)]


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
