"""Upkeep by the number of videos: writing, opening, a page of them, proof, folding, copying."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import perf_counter, process_time

import numpy as np

from engine.evaluation.report import Cell, Report
from engine.storage.backup import backup
from engine.storage.database import Database
from engine.storage.durable import checksum
from engine.storage.embeddings import to_table
from engine.storage.layout import Layout
from engine.storage.ledger import Ledger
from engine.storage.parts import Footer, parse_part, rows_digest, write_part
from engine.storage.repeat import repeat_video
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.video.container import VideoInfo
from engine.video.gop import Gop
from engine.vision.backbone.space import Space

DIMENSION, FRAMES = 64, 8  # of a video; what is measured hangs on the number of videos
PAGE = 100
_SPACE = Space("bench", "synthetic", "local", "0" * 64, "{}", DIMENSION)


def run(folder: Path | None = None, *, videos: int = 1000, rounds: int = 3) -> Report:
    """Measure a store of made-up videos; a folder that has one already is measured as it is."""
    with TemporaryDirectory() as made:
        root = folder or Path(made) / "store"
        _write(root, videos)
        Store.open(root).close()  # all is published
        rows = [
            _timed("open", lambda: Store.open(root).close(), rounds),
            _timed("open for reading", lambda: Store.read(root).close(), rounds),
            _timed(f"open, list {PAGE} videos", lambda: _page(root), rounds),
            _timed("prove all (nothing is locked)", lambda: _verify(root)),
        ]
        before = _parts(root)
        waits: list[float] = []
        rows.append(_timed("fold", lambda: _fold(root, waits)))
        after = _parts(root)
        rows += [
            _timed("prove all, folded", lambda: _verify(root)),
            _timed("back up, folded", lambda: backup(root, Path(made) / "backup")),
            _timed("back up again", lambda: backup(root, Path(made) / "backup")),
        ]
    held = max(waits, default=0.0)
    notes = (
        f"{videos:,} videos of {FRAMES} rows of {DIMENSION} numbers; medians of {rounds} where a"
        " thing was done again;",
        f"folding leaves {after:,} of {before:,} parts; meanwhile another thread wrote"
        f" {len(waits):,} times and waited for {held:.2f} s at most",
    )
    columns = ("what", "processor s", "wall s")
    data = {"videos": videos, "parts": [before, after], "waited": held}
    return Report("Store", columns, rows, notes, data)


def _timed(what: str, call: Callable[[], object], rounds: int = 1) -> list[Cell]:
    spent = []
    for _ in range(rounds):
        used, begun = process_time(), perf_counter()
        call()
        spent.append((process_time() - used, perf_counter() - begun))
    return [what, median(used for used, _ in spent), median(wall for _, wall in spent)]


def _write(root: Path, videos: int) -> None:
    """Write one video as an ingest does, and make all others of it in one go."""
    with Store.open(root) as store:
        if store.catalog.count_videos():
            return
        store.catalog.add_space(_SPACE)
        info = VideoInfo("/1.mp4", "h264", 64, 64, 0, 30.0, 4.0, 0.0, 120, 1, "yuv420p", False)
        video_id = store.catalog.add_video(info, "1", "1.mp4")
        store.catalog.add_gops(video_id, [Gop(0, 0.0, 4.0, 120, 0)])
        key = (video_id, _SPACE.key, Sampling(2), "dense")
        store.write_part(*key, 0, 0.0, 4.0, _rows())
        store.finish_segment(*key, FRAMES)
        store.catalog.set_status(video_id, "ready")
        layout = store.layout
    with closing(Database(layout.catalog)) as database:
        ledger = Ledger(database)
        footer, _ = parse_part(layout.root / ledger.parts()[0].path)
        files = [_copy(layout, footer, number) for number in range(2, videos + 1)]
        repeat_video(database, files)
        ledger.commit_numbers("video_ids", videos)
        ledger.commit_numbers("file_ids", footer.part_id + videos)


def _rows() -> Rows:
    vectors = np.random.default_rng(0).standard_normal((FRAMES, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    frame, flat = np.arange(FRAMES, dtype=np.int32), np.zeros(FRAMES, np.float32)
    return Rows(frame, frame / 2, ["P"] * FRAMES, vectors, flat, flat, np.ones(FRAMES, bool))


def _copy(layout: Layout, footer: Footer, number: int) -> tuple[int, int, str, int, str]:
    """Write the part of the first video as that of another; return it as columns of the catalog."""
    [one], rows = footer.contents, to_table(_rows(), number, "dense")
    names = ((f"{number}.mp4", f"/{number}.mp4"),)
    video = {**one.video, "video_id": number, "content_hash": str(number)}
    contents, part_id = replace(one, video=video, names=names), footer.part_id + number
    path = layout.part(1, part_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = rows_digest(rows)
    footer = replace(footer, part_id=part_id, contents=(contents,), rows_sha256=digest)
    write_part(rows, lambda: footer, path)
    return number, part_id, layout.relative(path), path.stat().st_size, checksum(path)


def _page(root: Path) -> None:
    with Store.read(root) as store:
        assert len(store.catalog.videos(limit=PAGE)) == min(PAGE, store.catalog.count_videos())


def _verify(root: Path) -> None:
    with Store.read(root) as store:
        assert store.verify() == []


def _fold(root: Path, waits: list[float]) -> None:
    """Fold, and note how long another thread that writes little has to wait each time."""
    done = Event()

    def write() -> None:
        while not done.wait(0.01):
            begun = perf_counter()
            store.catalog.set_calibration(_SPACE.key, "rates", {"at": begun})
            waits.append(perf_counter() - begun)

    with Store.open(root) as store:
        writer = Thread(target=write)
        writer.start()
        store.compact()
        done.set()
        writer.join()


def _parts(root: Path) -> int:
    with Store.read(root) as store:
        return sum(1 for _ in store.layout.parts.rglob("*.parquet"))
