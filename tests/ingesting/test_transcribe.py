"""What is said is read while videos are ingested, and nothing of it ends that."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.ingest import register
from engine.ingesting.transcribe import take_subtitles
from engine.storage.store import Store

SRT = "1\n00:00:00,500 --> 00:00:01,000\n{}\n\n2\n00:00:01,000 --> 00:00:02,000\nзвук\n"


def texts(store: Store, name: str) -> dict[str, list[tuple[float, str]]]:
    found = {}
    for part in store.transcripts.listed([store.catalog.video(name).video_id]):
        lines = store.transcripts.read(part).to_pylist()
        found[part.source] = [(line["start_seconds"], line["text"]) for line in lines]
    return found


def test_files_beside_a_video_are_read_once_and_again_where_they_change(
    tmp_path: Path, store: Store, make_clip: Callable[..., Path]
) -> None:
    clip = make_clip(tmp_path / "talk.mp4", 2)
    beside = clip.with_name("talk.ru.srt")
    beside.write_text(SRT.format("first"))
    clip.with_name("talk.vtt").write_bytes(b"WEBVTT\n\n00:01.000 --> 00:00.250\nGr\xfc\xdfe\n")
    [report] = register(store, [clip]).videos
    assert report.transcript == (
        "2 lines of talk.ru.srt (ru);"
        " 1 lines of talk.vtt, 1 cues damaged: the cue in line 3 ends before it begins"
    )
    assert texts(store, "talk.mp4") == {
        "talk.ru.srt": [(0.5, "first"), (1.0, "звук")],
        "talk.vtt": [(0.25, "Grüße")],
    }
    parts = store.transcripts.listed()
    assert [video.transcript for video in register(store, [clip]).videos] == [report.transcript]
    assert store.transcripts.listed() == parts
    beside.write_text(SRT.format("second"))
    register(store, [clip])
    assert texts(store, "talk.mp4")["talk.ru.srt"][0] == (0.5, "second")
    assert [part.language for part in store.transcripts.listed()] == ["ru", None]
    beside.unlink()  # what was said stays said
    register(store, [clip])
    assert len(store.transcripts.listed()) == 2
    video_id = store.catalog.video("talk.mp4").video_id
    beside.write_bytes("1\n00:00:00,500 --> 00:00:01,000\nПривет\n".encode("cp1251"))
    taken = take_subtitles(
        store, video_id, beside.name, beside.read_bytes(), language="bg", encoding="cp1251"
    )
    assert (taken.lines, taken.language) == (1, "bg")
    register(store, [clip])  # does not undo it
    assert texts(store, "talk.mp4")["talk.ru.srt"] == [(0.5, "Привет")]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_streams_are_read_and_files_count_from_the_first_picture(
    tmp_path: Path, store: Store
) -> None:
    (tmp_path / "a.srt").write_text(SRT.format("inside"))
    late = tmp_path / "late.mkv"
    command = (
        "ffmpeg -v error -f lavfi -i color=size=32x32:rate=5:duration=3"
        f" -i {tmp_path}/a.srt -c:v mpeg4 -c:s subrip -output_ts_offset 10 {late}"
    )
    subprocess.run(command.split(), check=True)
    (tmp_path / "late.srt").write_text(SRT.format("beside"))
    [report] = register(store, [late]).videos
    assert report.transcript == "2 lines of stream 1; 2 lines of late.srt"
    first = store.catalog.gops(report.video_id or 0)[0].start_seconds
    assert first == pytest.approx(10, abs=0.1)
    found = texts(store, "late.mkv")
    assert found["late.srt"] == [(first + 0.5, "beside"), (first + 1, "звук")]
    for (inside, _), (beside, _) in zip(found["stream 1"], found["late.srt"], strict=True):
        assert inside == pytest.approx(beside, abs=0.1)


def test_nothing_ends_an_ingest(
    tmp_path: Path,
    store: Store,
    make_clip: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clip = make_clip(tmp_path / "a.mp4", 2)
    clip.with_name("a.srt").mkdir()
    clip.with_name("a.de.srt").write_bytes(bytes(range(256)) * 50)
    monkeypatch.setattr("engine.video.subtitles.beside.MOST_BYTES", 50_000)
    clip.with_name("a.en.srt").write_bytes(b"x" * 50_001)
    [report] = register(store, [clip]).videos
    assert report.outcome == "known"
    said = str(report.transcript)
    assert said.startswith("0 lines of a.de.srt (de), 1 cues damaged")
    assert "; a.en.srt: a.en.srt has 0 MB; allowed: 0 MB; a.srt: " in said
    assert said.endswith("is a directory")
