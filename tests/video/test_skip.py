"""What nobody looks at is not decoded, and nothing else changes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.video.decode import decode_range
from engine.video.gop import index_gops
from engine.video.sample import get_frames_at, sample_frames, sample_times
from engine.video.skip import skippable
from engine.video.write import write_h264


@dataclass
class Packet:
    """As much of a packet as is asked of it."""

    pts: int | None
    dts: int | None = None


def texture(number: int) -> np.ndarray:
    image = np.random.default_rng(number // 3).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    image[:, : 1 + number % 8] = number % 250
    return image.repeat(16, 0).repeat(16, 1)


def nobody(_start: float, _stop: float) -> bool:
    return False


@given(
    steps=st.lists(st.integers(1, 9), min_size=1, max_size=60),
    swaps=st.lists(st.integers(0, 58), max_size=12),
    fps=st.sampled_from([0.5, 2, 3, 7, 25]),
)
def test_unseen_are_those_between_two_instants(steps, swaps, fps) -> None:
    times = np.cumsum(steps).tolist()
    coded = list(times)
    for at in swaps:  # pictures come a little out of order
        if at + 1 < len(coded):
            coded[at], coded[at + 1] = coded[at + 1], coded[at]
    instants = sample_times(0, times[-1] / 25 + 1, fps)
    judged = list(skippable(map(Packet, coded), instants.any_in, 1, 25))
    assert [packet.pts for packet, _ in judged] == coded
    following = dict(zip(times, [*times[1:], None], strict=True))
    for packet, unseen in judged:
        stop = following[packet.pts]
        looked = [
            t
            for t in instants
            if packet.pts / 25 <= t + 1e-6 and (not stop or t + 1e-6 < stop / 25)
        ]
        assert unseen == (not looked)


def test_pictures_without_a_time_are_looked_at() -> None:
    packets = [Packet(0), Packet(None), Packet(2), Packet(3)]
    judged = list(skippable(iter(packets), nobody, 1, 25))
    assert [unseen for _, unseen in judged] == [True, False, True, True]


@pytest.mark.parametrize("fps", [0.7, 2, 6])
@pytest.mark.parametrize("bframes", [0, 2, 3])
def test_sampled_frames_are_the_same(tmp_path: Path, fps: float, bframes: int) -> None:
    path = tmp_path / "clip.mp4"
    write_h264(path, map(texture, range(90)), 25, bframes=bframes, gop=40)
    gops, times = index_gops(path), sample_times(0, 90 / 25, fps)
    found, counts = [], []
    for looked in (None, times.any_in):
        frames = list(decode_range(path, 0, 90 / 25, gops=gops, looked=looked))
        counts.append(len(frames))
        found.append(
            [(f.number, f.seconds, f.picture, f.image.tobytes())
             for f in sample_frames(frames, times)]
        )  # fmt: skip
    assert found[0] == found[1]
    assert len(found[0]) == len(times)
    assert counts[0] == 90
    assert counts[1] < (70 if bframes else 90)


def test_single_frames_cost_no_more_than_they_need(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_h264(path, map(texture, range(50)), 25, gop=50)
    gops = index_gops(path)
    every = {round(f.seconds * 25): f.image.tobytes() for f in decode_range(path, 0, 9, gops=gops)}
    asked = [0.04, 1.0, 1.32]
    for place, frame in get_frames_at(path, asked, gops=gops):
        assert frame.image.tobytes() == every[round(asked[place] * 25)]


def test_fields_are_never_parted(tmp_path: Path, write_clip) -> None:
    path = write_clip(
        tmp_path / "clip.mp4", "libx264", map(texture, range(40)), bf="2", flags="+ildct+ilme",
        g="40", sc_threshold="0",
    )  # fmt: skip
    gops = index_gops(path)
    last = sample_times(39 / 25, 40 / 25, 25)
    frames = list(decode_range(path, 0, 9, gops=gops, looked=last.any_in))
    assert frames[0].raw.interlaced_frame
    assert len(frames) == 40
