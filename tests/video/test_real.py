"""Real clips give what a plain PyAV loop gives, or a reason."""

import csv
import hashlib
from itertools import count
from pathlib import Path

import av
import pytest

from engine.errors import VideoError
from engine.video.container import content_hash, probe
from engine.video.decode import decode_range, get_frame_at
from engine.video.gop import index_gops
from engine.video.sample import sample_frames, sample_times

pytestmark = pytest.mark.real

UNUSABLE = {
    "audio_only_opus.webm": "no video stream",
    "dolby_vision_no_codec_context.mp4": "codec that cannot be decoded",
    "mp4_init_segment_zero_frames.mp4": "no pictures",
    "mp4_malformed_free_box.mp4": "header is damaged",
    "mp4_no_sample_table.mp4": "header is damaged",
    "truncated_40pct_bangkok.mp4": "header is damaged",
    "ts_truncated_no_frames.ts": "no pictures",
    "zero_bytes.mp4": "is empty",
}
# the plain loop stops at their first error, the engine goes on
DAMAGED = {
    "byte_errors_in_mdat.mp4": (21, 67),
    "truncated_60pct.mp4": (177, 179),
    "h264_invalid_nalu.mp4": (26, 29),
    "h264_fragmented_encrypted.mp4": (0, 0),
    "h264_broken_references_garbage.mp4": (864, 864),
}
LONG = {"long_362s_av1_180p60.mp4", "long_362s_h264_1080p.mp4"}


@pytest.fixture(scope="module")
def listed(real_data: Path) -> list[dict[str, str]]:
    with (real_data / "videos.csv").open() as file:
        return [row for row in csv.DictReader(file) if (real_data / row["file"]).exists()]


def decoded(path: Path, start: float, stop: float, gops) -> list[tuple[float, str]]:
    return [
        (frame.seconds, hashlib.md5(frame.raw.to_ndarray(format="rgb24").tobytes()).hexdigest())
        for frame in decode_range(path, start, stop, gops=gops)
    ]


def plain(path: Path) -> list[tuple[float, str]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        base = stream.time_base
        return [
            (
                frame.pts * base.numerator / base.denominator,
                hashlib.md5(frame.to_ndarray(format="rgb24").tobytes()).hexdigest(),
            )
            for frame in container.decode(stream)
        ]


def test_counts_and_times(real_data, listed) -> None:
    wrong = []
    for row in listed:
        path = real_data / row["file"]
        if path.name in UNUSABLE:
            with pytest.raises(VideoError, match=UNUSABLE[path.name]):
                index_gops(path)
            continue
        if path.name in LONG:
            continue
        gops = index_gops(path)
        frames = [frame.seconds for frame in decode_range(path, -1e9, 1e9, gops=gops)]
        expected = DAMAGED.get(path.name, (int(row["frames_decoded"]),) * 2)[1]
        opening = float(row["first_pts_s"] or (frames or [0])[0])
        if len(frames) != expected or (frames and abs(frames[0] - opening) > 1e-3):
            wrong.append((row["file"], len(frames), expected, frames[:1], opening))
    assert wrong == []


def test_probe_agrees_with_the_list(real_data, listed) -> None:
    for row in listed:
        path = real_data / row["file"]
        if path.name in UNUSABLE or not row["container"]:
            continue
        info = probe(path)
        stored = (int(row["width"]), int(row["height"]))
        turned = row["rotation"] in {"-90", "90"}
        assert info.rotation == int(row["rotation"] or 0), row["file"]
        assert (info.width, info.height) == (stored[::-1] if turned else stored), row["file"]
        assert info.codec == row["codec"].replace("libdav1d", "av1"), row["file"]
        assert content_hash(path).startswith(row["sha256_16"])


ODD = [
    "h264_bpyramid_3b.mp4",
    "h264_edit_list_starts_at_1s.mp4",
    "h264_first_pts_10s.mp4",
    "h264_iibbibb_1fps.mp4",
    "h264_mkv_3_keyframes.mkv",
    "h264_mpegts.ts",
    "h264_25_keyframes_518x488.mp4",
    "hevc_bframes.mp4",
    "hevc_edit_list_rot90.mp4",
    "hevc_no_keyframe_at_start.mp4",
    "mpeg2_odd_121x81.mp4",
    "slowmo_160x120.mp4",
    "vp9_odd_161x121.webm",
]


@pytest.mark.parametrize("name", ODD)
def test_group_by_group_equals_the_plain_loop(name, real_data) -> None:
    path = real_data / "videos" / "odd" / name
    gops, whole = index_gops(path), plain(path)
    parts = [
        frame for gop in gops for frame in decoded(path, gop.start_seconds, gop.stop_seconds, gops)
    ]
    assert parts == whole


def test_far_into_a_long_video(real_data) -> None:
    path = real_data / "videos" / "odd" / "long_362s_h264_1080p.mp4"
    gops = index_gops(path)
    assert sum(gop.num_packets for gop in gops) == 10_883
    assert get_frame_at(path, 300.02, gops=gops).seconds == pytest.approx(300.0, abs=0.0334)


def test_broken_references_are_seen(real_data) -> None:
    path = real_data / "videos" / "odd" / "h264_broken_references_garbage.mp4"
    frames = list(decode_range(path, 0, 99, gops=index_gops(path)))
    assert sum(frame.corrupt for frame in frames) >= 840


def test_size_change_under_way(real_data) -> None:
    path = real_data / "videos" / "derived" / "ts_size_change_same_pid.ts"
    frames = decode_range(path, 0, 99, gops=index_gops(path))
    assert {frame.image.shape for frame in frames} == {(360, 640, 3), (272, 480, 3)}


def test_sampling_sees_the_same_with_and_without_skipping(real_data, listed) -> None:
    wrong, counted = [], [0, 0]
    for row in listed:
        path = real_data / row["file"]
        if path.name in {*UNUSABLE, *DAMAGED, *LONG} or path.stat().st_size > 4_000_000:
            continue
        gops = index_gops(path)
        start = gops[0].start_seconds
        stop = min(gops[-1].stop_seconds, start + 5)
        times, found = sample_times(start, stop, 2.0), []
        for at, looked in enumerate((None, times.any_in)):
            number = count()
            frames = decode_range(path, start, stop, gops=gops, looked=looked)
            shown = sample_frames((frame for frame, _ in zip(frames, number, strict=False)), times)
            found.append([(f.number, f.seconds, f.corrupt, hash(f.image.tobytes())) for f in shown])
            counted[at] += next(number)
        if found[0] != found[1]:
            wrong.append(row["file"])
    assert wrong == []
    assert counted[1] < 0.8 * counted[0]
