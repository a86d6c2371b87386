"""Files of subtitles against FFmpeg's own reading, in every encoding, and as nobody meant them."""

import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from engine.errors import NotFoundError, UsageError
from engine.video.subtitles.beside import Folders, language_of, read_bytes, read_file
from engine.video.subtitles.cue import MOST_CHARACTERS
from engine.video.subtitles.letters import latin, read_letters

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
WORDS = (
    "the red car", "goes left", "Grüße aus Köln", "日本語の字幕", "привет", "สวัสดี", "naïve café",
    "5 apples", "a & b", "100 %", "“quoted”", "l'été", "🙂 fine", "- Who? - Me.",
)  # fmt: skip


def clock(seconds: float, point: str) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{thousandths:03}"


def cues_of(draw: random.Random) -> list[tuple[float, float, list[str]]]:
    """Cues in order of time, some of which overlap."""
    cues, at = [], 0.0
    for _ in range(draw.randint(1, 30)):
        at += draw.choice((0.0, 0.04, 1.5, 700.25))
        rows = [draw.choice(WORDS) for _ in range(draw.randint(1, 3))]
        length = draw.choice((0.001, 0.5, 2.25, 4000.5))
        cues.append((at, at + length, rows))
        at += draw.choice((0.5, 0.75))  # FFmpeg sorts, and drops what is said twice at one instant
    return cues


def as_file(draw: random.Random, cues: list[tuple[float, float, list[str]]], *, vtt: bool) -> str:
    """Write cues as others do: numbers or none, marks, settings, notes, both line ends."""
    end = draw.choice(("\n", "\r\n"))
    parts = ["WEBVTT - a title", "NOTE this is\nnot shown"] if vtt else []
    marks = ["i", "b", "u"] + (["v Roger", "c.loud"] if vtt else ['font color="#ff0000"'])
    for number, (start, stop, rows) in enumerate(cues, 1):
        point = "." if vtt else ","
        times = f"{clock(start, point)} --> {clock(stop, point)}"
        times += draw.choice(("", " line:0 align:start")) if vtt else ""
        shown = []
        for row in rows:
            text = row.replace("&", "&amp;") if vtt else row
            mark = draw.choice(marks) if draw.random() < 0.3 else None
            shown.append(f"<{mark}>{text}</{re.split('[ .]', mark)[0]}>" if mark else text)
        head = [] if vtt and draw.random() < 0.5 else [str(number)]
        parts.append("\n".join([*head, times, *shown]))
    return "\n\n".join([*parts, ""]).replace("\n", end)


def by_ffmpeg(paths: list[Path]) -> list[list[tuple[float, float, str]]]:
    """Read files as FFmpeg does, by what it writes as SubRip."""
    command = ["ffmpeg", "-v", "error"]
    for path in paths:
        command += ["-i", str(path)]
    outputs = [path.with_suffix(".out") for path in paths]
    for number, path in enumerate(outputs):
        command += ["-map", str(number), "-f", "srt", str(path)]
    subprocess.run(command, check=True)
    return [cues_written(path.read_text()) for path in outputs]


def cues_written(out: str) -> list[tuple[float, float, str]]:
    found = []
    for block in re.split(r"\n\n(?=\d+\n\d\d:)", out.strip("\n")):
        _, times, *rows = block.split("\n")
        start, stop = (
            int(h) * 3600 + int(m) * 60 + int(s) + int(f) / 1000
            for h, m, s, f in re.findall(r"(\d+):(\d+):(\d+),(\d+)", times)
        )
        text = re.sub(r"</?(?:font|b|i|u)[^>]*>", "", "\n".join(rows))
        found.append((start, stop, "\n".join(row.strip() for row in text.split("\n"))))
    return found


@needs_ffmpeg
@pytest.mark.parametrize("ending", ["srt", "vtt"])
def test_random_files_are_read_as_ffmpeg_reads_them(tmp_path: Path, ending: str) -> None:
    paths = [tmp_path / f"{seed}.{ending}" for seed in range(20)]
    for seed, path in enumerate(paths):
        draw = random.Random(seed)
        path.write_text(as_file(draw, cues_of(draw), vtt=ending == "vtt"), newline="")
    for path, expected in zip(paths, by_ffmpeg(paths), strict=True):
        reading, _ = read_file(path.name, path.read_bytes())
        lines = [(line.start_seconds, line.stop_seconds, line.text) for line in reading.lines]
        assert [line[2] for line in lines] == [line[2] for line in expected], path
        for ours, theirs in zip(lines, expected, strict=True):
            assert ours[:2] == pytest.approx(theirs[:2], abs=1e-6), path
        assert (reading.damaged, reading.first_damage) == (0, None)


LATIN = "1\n00:00:01,000 --> 00:00:02,000\nGrüße, œuvre – naïve\n"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
def test_encodings_are_told_from_the_bytes(encoding: str) -> None:
    reading, _ = read_file("x.srt", LATIN.encode(encoding))
    assert [line.text for line in reading.lines] == ["Grüße, œuvre – naïve"]


def test_no_byte_is_lost() -> None:
    every = bytes(range(256))
    assert len(latin(every)) == 256
    assert len(set(latin(every))) == 256
    damaged = "Köln, Zürich".encode() + b"\xff!"
    assert read_letters(damaged) == ("Köln, Zürichÿ!", "utf-8")
    assert read_letters("Привет".encode("cp1251"), "cp1251") == ("Привет", "cp1251")
    with pytest.raises(UsageError, match="no encoding 'klingon'"):
        read_letters(b"", "klingon")


BAD = """\
nobody's words

1
00:00:03,000 --> 00:00:01,000
turned round

2
00:00:05,000 --> 00:00:05,000
no length

3
-00:00:02,000 --> 00:00:01,500
begins before

4
00:00:xx,000 --> 00:00:07,000
lost

5
00:00:08,000 --> 00:00:09,000
<script>alert(1)</script> a --> b

6
00:00:10,000 --> 00:00:11,0"""


def test_damaged_cues_are_counted_and_kept_where_that_can_be() -> None:
    reading, _ = read_file("x.srt", BAD.encode())
    assert [(line.start_seconds, line.stop_seconds, line.text) for line in reading.lines] == [
        (1.0, 3.0, "turned round"),
        (5.0, 6.0, "no length"),
        (0.0, 1.5, "begins before"),
        (8.0, 9.0, "<script>alert(1)</script> a --> b"),
    ]
    assert (reading.damaged, reading.first_damage) == (5, "line 1 has text without times")
    vtt, _ = read_file("x.vtt", f"WEBVTT\n\n{BAD}".replace(",", ".").encode())
    assert [line.text for line in vtt.lines] == [
        "turned round", "no length", "begins before", "alert(1) a --> b",
    ]  # fmt: skip
    assert vtt.damaged == 5


def test_any_bytes_are_read_to_their_end() -> None:
    whole = f"WEBVTT\n\n{LATIN}{BAD}".encode()
    for seed in range(300):
        draw = random.Random(seed)
        data = bytearray(whole[: draw.randrange(len(whole))])
        for _ in range(draw.randint(0, 20)):
            del data[draw.randint(0, len(data)) :: draw.randint(1, 97)]
            data += draw.randbytes(draw.randint(0, 9))
        for name in ("x.srt", "x.vtt"):
            for line in read_file(name, bytes(data))[0].lines:
                assert 0 <= line.start_seconds < line.stop_seconds < 1e14
                assert line.text.encode()
                assert len(line.text) <= MOST_CHARACTERS


def test_a_long_text_is_cut_between_its_words() -> None:
    words = [f"word{number}" for number in range(3000)]
    text = f"1\n00:00:01,000 --> 00:00:02,000\n{' '.join(words)} {'x' * 9000}\n"
    lines = [line.text for line in read_file("x.srt", text.encode())[0].lines]
    assert " ".join(lines[:-3]).split() == words
    assert "".join(lines[-3:]) == "x" * 9000
    assert max(map(len, lines)) <= MOST_CHARACTERS


@pytest.mark.parametrize(
    "piece", ["7" * 10**6, "<" * 10**6, "00:" * 300_000, "a b " * 250_000, "\n" * 200_000]
)
def test_a_row_without_end_takes_no_time_without_end(piece: str) -> None:
    for name in ("x.srt", "x.vtt"):
        reading, _ = read_file(name, f"1\n00:00:01,000 --> 00:00:02,000\n{piece}\n".encode())
        shown = "".join(line.text for line in reading.lines)
        assert "".join(shown.split()) == "".join(piece.split())


def test_files_beside_a_video_are_found(tmp_path: Path) -> None:
    for name in (
        "talk.srt", "talk.VTT", "talk.de.srt", "talk.pt-BR.vtt", "talk.2.srt", "talks.srt",
        "talk.txt", "other.srt",
    ):  # fmt: skip
        (tmp_path / name).touch()
    found = Folders().beside(tmp_path / "talk.mp4")
    assert {(item.path.name, item.language) for item in found} == {
        ("talk.srt", None), ("talk.VTT", None), ("talk.de.srt", "de"), ("talk.pt-BR.vtt", "pt-BR"),
    }  # fmt: skip
    assert Folders().beside(tmp_path / "gone" / "talk.mp4") == []
    assert (language_of("a.en.srt"), language_of("en.srt")) == ("en", None)
    with pytest.raises(UsageError, match=r"allowed: \.srt, \.vtt"):
        read_bytes(tmp_path / "talk.txt")
    with pytest.raises(NotFoundError, match="no file"):
        read_bytes(tmp_path / "gone.srt")
