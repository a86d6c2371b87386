"""Files in, rows out: whatever the files are, and however often it is tried."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.errors import NotFoundError, UsageError
from engine.ingest import IngestOptions, ingest, redecode
from engine.ingesting.report import bound_of
from engine.video.decode import get_frame_at
from engine.video.gop import index_gops
from engine.video.write import write_h264

DENSE = IngestOptions(strategy="dense")


def outcomes(report) -> dict[str, str]:
    return {video.name: video.outcome for video in report.videos}


def test_rows_are_the_frames_on_screen(store, model, clips) -> None:
    report = ingest(store, model, [clips], DENSE)
    assert outcomes(report) == dict.fromkeys(["long.mp4", "middle.mp4", "short.mp4"], "ready")
    assert [video.rows for video in report.videos] == [200, 20, 5]
    assert (report.frames, report.rows, report.interrupted) == (225, 225, False)
    for video in report.videos:
        assert video.pictures >= video.frames
        assert video.macs == video.macs_dense > 0
        assert (video.reuse_rate, video.drift, video.missing) == (0, 0, [])
    rows = store.rows(model.space.key, [2], ["frame", "seconds", "exact", "embedding"])
    assert rows.column("frame").to_pylist() == list(range(20))
    assert rows.column("seconds").to_pylist() == pytest.approx([n / 2 for n in range(20)])
    assert all(rows.column("exact").to_pylist())
    path = clips / "middle.mp4"
    images = [get_frame_at(path, n / 2, gops=index_gops(path)).image for n in range(20)]
    expected = model.embed_images(images)
    got = np.array(rows.column("embedding").to_pylist())
    assert np.abs(got - expected).max() < 2e-3
    assert store.verify() == []
    [long] = store.catalog.videos("long.mp4")
    assert (long.status, long.error) == ("ready", None)
    assert long.report["rows"] == 200
    assert len(store.catalog.stretches(long.video_id, model.space.key)) == 3


def test_the_same_content_costs_nothing(store, model, clips, tmp_path) -> None:
    ingest(store, model, [clips], DENSE)
    shutil.copy(clips / "short.mp4", tmp_path / "again.mp4")
    report = ingest(store, model, [clips, tmp_path / "again.mp4"], DENSE)
    assert set(outcomes(report).values()) == {"known"}
    assert sum(video.pictures for video in report.videos) == 0
    assert [v.video_id for v in report.videos] == [1, 2, 3, 3]
    assert set(store.catalog.video(3).names) == {"short.mp4", "again.mp4"}
    assert [video.rows for video in report.videos[:3]] == [200, 20, 5]


def test_a_new_file_takes_two_changes_of_the_catalog(store, model, make_clip, tmp_path) -> None:
    for number in range(6):
        make_clip(tmp_path / f"{number}.mp4", 2, seed=number)
    options = IngestOptions(strategy="dense")
    ingest(store, model, [tmp_path / "0.mp4"], options)
    before = store._database.changes
    report = ingest(store, model, [tmp_path], options)
    assert [video.outcome for video in report.videos] == ["known", *["ready"] * 5]
    assert [video.rows for video in report.videos] == [4] * 6
    # each enters, then its rows come and it is at its end; the one that is known gains its name
    assert store._database.changes <= before + 2 * 5 + 1
    for video in store.catalog.videos():
        assert (video.status, video.report["rows"], video.report["outcome"]) == (
            "ready",
            4,
            "ready",
        )
        [segment] = store.catalog.segments(video.video_id, model.space.key)
        assert (segment.shown, segment.num_frames) == (True, 4)
    assert store.verify() == []


def test_changed_content_is_a_new_version(store, model, make_clip, tmp_path) -> None:
    path = make_clip(tmp_path / "clip.mp4", 5, seed=1)
    first = ingest(store, model, [path], DENSE).videos[0]
    make_clip(path, 3, seed=2)
    second = ingest(store, model, [path], DENSE).videos[0]
    assert first.video_id != second.video_id
    assert [video.video_id for video in store.catalog.videos()] == [second.video_id]
    assert len(store.rows(model.space.key)) == second.rows == 6
    assert store.verify() == []


def test_one_name_in_two_folders_is_two_videos(store, model, make_clip, tmp_path) -> None:
    for seed, folder in enumerate(["a", "b"]):
        (tmp_path / folder).mkdir()
        make_clip(tmp_path / folder / "clip.mp4", 2, seed=seed)
        ingest(store, model, [tmp_path / folder], DENSE)
    assert [video.name for video in store.catalog.videos()] == ["clip.mp4", "b/clip.mp4"]
    again = ingest(store, model, [tmp_path / "b", tmp_path / "a"], DENSE)
    assert outcomes(again) == {"b/clip.mp4": "known", "clip.mp4": "known"}


def test_what_cannot_be_used_stops_no_other(store, model, clips, tmp_path) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(clips, folder)
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("hello " * 100)
    (folder / "gone.mp4").symlink_to(folder / "nothing.mp4")
    (folder / "loop").symlink_to(folder)
    (folder / "notes.txt").write_text("not looked at")
    (folder / "cut.mp4").write_bytes((clips / "long.mp4").read_bytes()[:3000])
    report = ingest(store, model, [folder], DENSE)
    reasons = {video.name: video.reason for video in report.quarantined}
    assert set(reasons) == {"empty.mp4", "text.mp4", "gone.mp4", "cut.mp4"}
    assert "is empty" in reasons["empty.mp4"]
    assert "is not a video" in reasons["text.mp4"]
    assert "No such file" in reasons["gone.mp4"]
    assert report.rows == 225
    for name, reason in reasons.items():
        video = store.catalog.video(name)
        assert (video.status, video.error) == ("quarantined", reason)
    again = ingest(store, model, [folder], DENSE)
    assert {video.name: video.reason for video in again.quarantined} == reasons


def test_damage_in_the_middle_is_said_and_the_rest_kept(store, model, make_clip, tmp_path) -> None:
    path = make_clip(tmp_path / "clip.mp4", 60, gop=8)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = np.random.default_rng(0).bytes(3000)
    path.write_bytes(data)
    [video] = ingest(store, model, [path], DENSE).videos
    assert video.outcome == "ready"
    assert 60 < video.rows < 120
    assert video.missing
    seconds = store.rows(model.space.key, [video.video_id]).column("seconds").to_numpy()
    for gap in video.missing:
        assert not ((seconds >= gap.start_seconds) & (seconds < gap.stop_seconds)).any()
        assert gap.reason
    on_record = store.catalog.video(video.video_id)
    assert on_record.status == "ready"
    assert on_record.error.startswith(f"missing {min(g.start_seconds for g in video.missing):.2f}")
    assert store.verify() == []


def test_pictures_that_all_fail_are_quarantined(store, model, make_clip, tmp_path) -> None:
    path = make_clip(tmp_path / "clip.mp4", 40)
    data = bytearray(path.read_bytes())
    data[data.index(b"mdat") + 4 :] = bytes(len(data) - data.index(b"mdat") - 4)
    path.write_bytes(data)
    for _ in range(2):
        [video] = ingest(store, model, [path], DENSE).videos
        assert (video.outcome, video.rows) == ("quarantined", 0)
        assert "Invalid data" in video.reason
        assert store.catalog.video("clip.mp4").error == video.reason
    assert video.pictures == 0
    assert store.verify() == []


def test_a_lost_end_is_said(store, model, tmp_path, make_clip) -> None:
    whole = make_clip(tmp_path / "whole.mp4", 60, gop=8).read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    [video] = ingest(store, model, [path], DENSE).videos
    assert video.outcome == "ready"
    assert 20 < video.rows < 100
    assert video.missing[0].stop_seconds == 60
    assert "ends before its container says" in video.missing[0].reason


def test_a_file_that_changes_meanwhile_is_quarantined(
    store, model, clips, tmp_path, listener
) -> None:
    path = tmp_path / "clip.mp4"
    shutil.copy(clips / "long.mp4", path)

    def append() -> None:
        with path.open("ab") as file:
            file.write(b"more")

    report = ingest(store, model, [path, clips / "short.mp4"], DENSE, listener("decode", append))
    assert outcomes(report) == {"clip.mp4": "quarantined", "short.mp4": "ready"}
    assert "changed while it was read" in report.videos[0].reason
    assert store.catalog.video("clip.mp4").status == "quarantined"
    assert len(store.rows(model.space.key)) == 5
    assert store.verify() == []
    assert outcomes(ingest(store, model, [path], DENSE)) == {"clip.mp4": "ready"}


def test_one_group_of_pictures_of_any_length(store, model, tmp_path, stored) -> None:
    whole = tmp_path / "whole.mp4"
    still = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    images = (
        np.where(np.arange(96)[:, None, None] < n % 8, 255 - n % 2, still) for n in range(600)
    )
    write_h264(whole, (image.astype(np.uint8) for image in images), 2, gop=10_000)
    [video] = ingest(store, model, [whole], DENSE).videos
    assert len(store.catalog.gops(video.video_id)) == 1
    assert video.rows == 600
    assert video.pictures <= 601  # decoded in one pass
    assert len(store.catalog.stretches(video.video_id, model.space.key)) >= 8
    numbers = [int(row[0]) for row in stored(store, model.space.key)["whole.mp4"]]
    assert numbers == list(range(600))


@pytest.mark.parametrize("fps", [0.4, 1.7, 4, 10])
def test_other_rates(store, model, clips, fps) -> None:
    [video] = ingest(store, model, [clips / "long.mp4"], IngestOptions(fps, "dense")).videos
    assert video.rows == min(np.ceil(100 * fps), 400)  # no frame twice
    replacing = IngestOptions(strategy="dense", replace=True)
    other = ingest(store, model, [clips / "long.mp4"], replacing).videos[0]
    assert other.note == f"rows at {fps:g} frames/s give way to rows at 2"
    assert len(store.rows(model.space.key)) == other.rows == 200
    assert store.verify() == []


def test_finer_rows_are_kept_unless_they_are_to_be_replaced(store, model, clips) -> None:
    path = clips / "long.mp4"
    coarse, fine = (IngestOptions(fps, "dense") for fps in (0.5, 4))
    [first] = ingest(store, model, [path], coarse).videos
    [finer] = ingest(store, model, [path], fine).videos
    assert (first.note, first.rows, finer.rows, finer.fps) == (None, 50, 400, 4)
    assert finer.note == "rows at 0.5 frames/s give way to rows at 4"
    for options in (coarse, DENSE):
        [kept] = ingest(store, model, [path], options).videos
        assert (kept.outcome, kept.frames, kept.rows, kept.fps) == ("known", 0, 400, 4)
        asked = f"{options.fps:g}"
        assert kept.note == f"kept at 4 frames/s, finer than the {asked} asked for; see --replace"
    assert len(store.rows(model.space.key)) == 400
    [replaced] = ingest(store, model, [path], replace(coarse, replace=True)).videos
    assert (replaced.outcome, replaced.rows, replaced.fps) == ("ready", 50, 0.5)
    assert len(store.rows(model.space.key)) == 50
    assert store.verify() == []


def test_an_interrupted_ingest_goes_on_at_the_finer_rate(store, model, clips, listener) -> None:
    path = clips / "long.mp4"
    heard = listener("encode")
    heard.act = lambda: setattr(heard, "stop", True)
    fine = IngestOptions(4, "dense", streams=1, workers=1)
    assert ingest(store, model, [path], fine, heard).interrupted
    assert 0 < len(store.rows(model.space.key)) < 400
    [video] = ingest(store, model, [path], DENSE).videos
    assert (video.rows, video.fps) == (400, 4)
    assert video.note == "kept at 4 frames/s, finer than the 2 asked for; see --replace"


def test_without_a_bound_nothing_is_audited_nor_promised(store, model, clips) -> None:
    options = IngestOptions(strategy="interpolate", max_drift=None)
    report = ingest(store, model, [clips / "middle.mp4"], options)
    [video] = report.videos
    exact = store.rows(model.space.key, [1], ["exact"]).column("exact").to_pylist()
    # every second frame and the last are encoded, as the strategy alone has it
    assert [at for at, each in enumerate(exact) if each] == [*range(0, 20, 2), 19]
    assert video.macs == pytest.approx(video.macs_dense * 11 / 20, rel=1e-3)  # no audit besides
    assert report.promise.startswith("nothing")
    assert report.as_dict()["promise"] == report.promise
    bounded = ingest(store, model, [clips / "short.mp4"], IngestOptions(strategy="dense"))
    assert "at most 0.02" in bounded.promise


@pytest.mark.parametrize(("given", "bound"), [("none", None), ("0.1", 0.1), (0.02, 0.02)])
def test_a_bound_is_a_number_or_none(given, bound) -> None:
    assert bound_of(given) == bound


def test_other_bounds_are_refused() -> None:
    with pytest.raises(UsageError, match="between 0 and 1, or none, got 'nine'"):
        bound_of("nine")


@pytest.mark.parametrize("strategy", ["earlygate", "interpolate", "auto"])
def test_reuse_within_a_bound(store, model, clips, strategy) -> None:
    options = IngestOptions(strategy=strategy, max_drift=0.05, weigh_from=0)
    report = ingest(store, model, [clips], options)
    assert report.rows == 225
    weighed = {each["strategy"] for choice in report.choices for each in choice["weighed"]}
    assert {video.strategy for video in report.videos} <= {strategy, "dense"} | weighed
    assert all(video.drift is None or video.drift <= 0.05 for video in report.videos)
    assert report.choice
    assert all(video.choice for video in report.videos)
    assert bool(report.choices) == (strategy == "auto")
    for choice in report.choices:
        weighed = {each["strategy"]: each for each in choice["weighed"]}
        assert {"dense", "earlygate", choice["strategy"]} <= set(weighed)
        assert weighed["dense"]["drift"] == 0
        assert all(each["seconds"] > 0 for each in weighed.values())
    assert set(outcomes(ingest(store, model, [clips], options)).values()) == {"known"}
    assert store.verify() == []


@pytest.mark.parametrize(("weigh_from", "few"), [(225, False), (226, True)])
def test_auto_weighs_nothing_for_few_frames(store, model, clips, weigh_from, few) -> None:
    report = ingest(store, model, [clips], IngestOptions(weigh_from=weigh_from))
    assert report.rows == 225
    assert (not report.choices) == few
    if few:
        assert report.strategy == "dense"
        assert report.choice == "dense: fewer than 226 frames, too few to weigh others by"
        assert {video.choice for video in report.videos} == {report.choice}


def test_progress(store, model, clips, listener) -> None:
    heard = listener()
    ingest(store, model, [clips], DENSE, heard)
    for stage in ("decode", "encode", "write"):
        events = [event for event in heard.events if event.stage == stage]
        frames = [event.frames for event in events]
        assert frames == sorted(frames)
        assert frames[-1] == events[-1].expected == 225
        assert events[-1].eta_seconds == 0
        assert events[-1].frames_per_second > 0
        assert events[-1].as_dict()["stage"] == stage


def test_pictures_of_stored_frames(store, model, clips) -> None:
    ingest(store, model, [clips / "long.mp4"], DENSE)
    images = redecode(store, model.space.key, 1, [150, 3, 0])
    path = clips / "long.mp4"
    gops = index_gops(path)
    for image, seconds in zip(images, [75.0, 1.5, 0.0], strict=True):
        assert np.array_equal(image, get_frame_at(path, seconds, gops=gops).image)
    with pytest.raises(NotFoundError, match="has no frame 900"):
        redecode(store, model.space.key, 1, [900])


def test_wrong_options_fail() -> None:
    with pytest.raises(UsageError, match="fps must be positive and at most 240, got 0"):
        IngestOptions(fps=0)
    with pytest.raises(UsageError, match="workers must be at least 1, got 0"):
        IngestOptions(workers=0)
    with pytest.raises(UsageError, match="unknown decoder 'nvde'; allowed: auto, nvdec, pyav"):
        IngestOptions(decoder="nvde")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_other_decoder_takes_over_in_silence(store, model, clips) -> None:
    with pytest.raises(UsageError, match="decoder 'nvdec' needs an NVIDIA GPU"):
        ingest(store, model, [clips], IngestOptions(strategy="dense", decoder="nvdec"))


def test_unknown_strategy_fails(store, model, clips) -> None:
    with pytest.raises(UsageError, match="nearest: dense"):
        ingest(store, model, [clips], IngestOptions(strategy="dens"))


@pytest.mark.real
@pytest.mark.slow
def test_odd_files(store, model, real_data) -> None:
    folders = (real_data / "videos" / name for name in ("odd", "derived"))
    files = [
        path for folder in folders for path in folder.iterdir() if not path.name.startswith("long")
    ]
    report = ingest(store, model, files, DENSE)
    assert len(report.videos) == 47
    assert all(video.rows or video.reason for video in report.videos)
    assert {video.name for video in report.quarantined} == {
        "audio_only_opus.webm",
        "dolby_vision_no_codec_context.mp4",
        "h264_fragmented_encrypted.mp4",
        "mp4_init_segment_zero_frames.mp4",
        "mp4_malformed_free_box.mp4",
        "mp4_no_sample_table.mp4",
        "truncated_40pct_bangkok.mp4",
        "ts_truncated_no_frames.ts",
        "zero_bytes.mp4",
    }
    assert store.verify() == []
