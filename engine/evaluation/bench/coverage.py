"""Coarse first: how much of the dense answer queries find, and what they had embedded for it."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.evaluation.report import Cell, Report
from engine.results import Moment, QueryResult
from engine.search.context import Range
from engine.search.options import Options
from engine.search.work import Embedded
from engine.session import Engine
from engine.video.write import write_h264
from engine.world.clip import make_pool
from engine.world.render import render_frames
from engine.world.splits import Split

TOP = 10
KEYS, SHARED = "keys alone", "within a quarter"
BUDGET = 0.24  # of what dense takes, up to which a query embeds the likeliest group; one overshoots
COLUMNS = (
    *(
        "asked",
        "queries",
        "moments found",
        "frames embedded",
        "decode + encode",
        "of a first tenth",
    ),
    *("stated as coarse", "complete"),
)


@dataclass(slots=True)
class Spent:
    """Frames embedded and seconds of decoding and encoding, as they add up."""

    frames: int = 0
    seconds: float = 0.0

    def add(self, frames: int, decode: float, encode: float) -> None:
        """Add some work."""
        self.frames += frames
        self.seconds += decode + encode


class Accounting(Engine):
    """An engine that keeps account of what its queries have embedded."""

    spent: Spent

    def _embed(self, missing: Sequence[Range], options: Options) -> Embedded:
        done = super()._embed(missing, options)
        self.spent.add(done.frames, done.decode_seconds, done.encode_seconds)
        return done


@dataclass(slots=True)
class CoarseTally:
    """What queries found of the dense answer, one after the other."""

    found: int = 0
    wanted: int = 0
    coarse: list[float] = field(default_factory=list)  # stated seconds
    complete: int = 0

    def note(self, ours: QueryResult, theirs: QueryResult) -> None:
        """Count the dense moments that overlap one of ours."""
        self.wanted += len(theirs.moments)
        self.found += sum(any(_meet(a, b) for b in ours.moments) for a in theirs.moments)
        self.coarse.append(ours.coverage.coarse_seconds)
        self.complete += ours.coverage.complete


def run(
    *,
    model: str = "builtin",
    device: str = "auto",
    clips: int = 40,
    seed: int = 7,
    num_queries: int = 200,
    gop_seconds: float = 4.0,
    split: Split = "test",
) -> Report:
    """Ask captions of a coarse store of made-up clips and of a dense one, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        queries, seconds = _write(Path(folder) / "clips", split, clips, seed, gop_seconds)
        queries = queries[:num_queries]
        given: dict[str, Any] = {"model": model, "device": device, "strategy": "dense"}
        with (
            Accounting.open(Path(folder) / "fine", **given) as fine,
            Accounting.open(Path(folder) / "coarse", **given) as coarse,
        ):
            dense, keys = _ingest(fine, folder, "all"), _ingest(coarse, folder, "keys")
            answers = [fine.query(text, top_k=TOP) for text in queries]
            rows: list[list[Cell]] = []
            for name, exact in (
                (KEYS, None),
                (SHARED, None),
                ("as it is", None),
                ("exactly", True),
            ):
                asked, first = CoarseTally(), 0.0
                for at, (text, answer) in enumerate(zip(queries, answers, strict=True)):
                    spent = (keys.seconds + coarse.spent.seconds) / dense.seconds
                    left = name == SHARED and spent < BUDGET
                    options: dict[str, Any] = (
                        {"deepen_gops": int(left)} if name in (KEYS, SHARED) else {}
                    )
                    asked.note(coarse.query(text, top_k=TOP, exact=exact, **options), answer)
                    if at + 1 == -(-len(queries) // 10):
                        first = keys.seconds + coarse.spent.seconds
                rows.append(
                    [
                        name,
                        len(queries),
                        asked.found / asked.wanted,
                        (keys.frames + coarse.spent.frames) / dense.frames,
                        (keys.seconds + coarse.spent.seconds) / dense.seconds,
                        first / dense.seconds,
                        sum(asked.coarse) / len(queries) / seconds,
                        asked.complete / len(queries),
                    ]
                )
    notes = (
        f"{clips} clips, {seconds:.0f} s, groups of pictures of {gop_seconds:g} s,"
        f" {dense.frames} frames at 2/s; moments: of dense's top {TOP} those that overlap one"
        " found;"
        " frames and seconds: of dense's, the coarse ingest and all queries so far together",
        f"{SHARED}: a query embeds the likeliest group whole while all has cost less than"
        f" {BUDGET:g} of what dense takes",
        "stated as coarse: share of the time line that an answer says was looked at by first"
        " frames alone",
    )
    return Report("Coarse first", COLUMNS, rows, notes)


def _write(
    folder: Path, split: Split, clips: int, seed: int, gop_seconds: float
) -> tuple[list[str], float]:
    """Write clips; return captions to ask for, each once, and how long the clips are together."""
    folder.mkdir()
    texts, seconds = list[str](), 0.0
    for clip in make_pool(split, clips, seed):
        gop = round(gop_seconds * clip.fps)
        write_h264(folder / f"{clip.name}.mp4", render_frames(clip), clip.fps, gop=gop)
        texts += [clip.caption, *(span.caption for span in clip.spans)]
        seconds += clip.duration_seconds
    return list(dict.fromkeys(texts)), seconds


def _ingest(engine: Accounting, folder: str, coverage: str) -> Spent:
    engine.spent, told = Spent(), Spent()
    report = engine.ingest(Path(folder) / "clips", coverage=coverage)  # type: ignore[arg-type]
    for video in report.videos:
        told.add(video.frames, video.decode_seconds, video.encode_seconds)
    return told


def _meet(one: Moment, other: Moment) -> bool:
    apart = one.start_seconds >= other.stop_seconds or other.start_seconds >= one.stop_seconds
    return one.video_id == other.video_id and not apart
