"""A run that passes every commit point, and can be taken up again wherever it was killed.

Started as a script it reads lines `FOLDER POINT COUNT`, runs the scenario on the folder in a child
process that kills itself as it passes the point for the COUNT-th time, and prints what came of it.
The point `time` means COUNT microseconds, and `repair` that the folder is repaired for so long.
"""

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from engine.storage.records import Video
from engine.storage.repair import repair
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.storage.tuning import Tuning
from engine.video.container import VideoInfo
from engine.vision.backbone.space import Space

DIMENSION = 6
SPACE = Space("tiny", "local/tiny", "local", "0" * 64, "{}", DIMENSION)
TUNING = Tuning(
    flat_rows=24, coded_rows=30, probe_share=1.0, coded_share=1.0, exact_rows=4, delta_rows=10
)
STRETCH = 6


def open_store(root: Path, reached: Callable[[str], None] = lambda _: None) -> Store:
    return Store.open(root, tuning=TUNING, reached=reached)


def vectors(count: int, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((count, DIMENSION))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def run(store: Store, done: Callable[[str], None] = lambda _: None) -> None:
    """Ingest three videos, replace one, refine rows, embed one anew, tidy up; skip what is done."""
    catalog = store.catalog
    catalog.add_space(SPACE)
    store.load_index(SPACE.key)
    for name in "ab":
        _ingest(store, _video(store, name, name), Sampling(2), "reusevit", 2, done)
    if catalog.find_content("hash new") is None:
        _ingest(store, _video(store, "c", "old"), Sampling(2), "dense", 1, done)
        _video(store, "c", "new")
        done("c replaced")
    _refine(store, done)
    _ingest(store, catalog.video("b"), Sampling(4), "dense", 3, done)
    store.build_index(SPACE.key)
    done("built")
    store.compact()
    done("compacted")


def _video(store: Store, name: str, content: str) -> Video:
    info = VideoInfo(f"/{name}", "h264", 8, 8, 0, 30.0, 9.0, 0.0, 270, 1, "yuv420p", False)
    return store.catalog.video(store.catalog.add_video(info, f"hash {content}", name))


def _ingest(
    store: Store,
    video: Video,
    sampling: Sampling,
    strategy: str,
    stretches: int,
    done: Callable[[str], None],
) -> None:
    """Write the stretches that are not there, unless another sampling has been finished since."""
    store.embedded_spans(video.video_id, SPACE.key, sampling)  # reads the parts, as an ingest does
    segments = store.catalog.segments(video.video_id, SPACE.key)
    if any(s.num_frames is not None and s.sampling in (sampling, Sampling(4)) for s in segments):
        return
    args = (video.video_id, SPACE.key, sampling, strategy)
    for stretch in sorted(set(range(stretches)) - store.committed_stretches(*args)):
        frame = np.arange(stretch * STRETCH, (stretch + 1) * STRETCH, dtype=np.int32)
        given = vectors(STRETCH, 1000 * ord(video.name) + 100 * stretches + stretch)
        exact = np.full(STRETCH, strategy == "dense")
        flat = np.zeros(STRETCH, np.float32)
        rows = Rows(frame, frame / 2, ["P"] * STRETCH, given, flat, flat, exact)
        store.write_part(*args, stretch, stretch * 3.0, stretch * 3.0 + 3, rows)
        done(f"{video.name} {sampling} {stretch}")
    store.finish_segment(*args, stretches * STRETCH)
    done(f"{video.name} {sampling} finished")


def _refine(store: Store, done: Callable[[str], None]) -> None:
    video_id = store.catalog.video("a").video_id
    exact = store.rows(SPACE.key, [video_id], ["exact"]).column("exact").to_numpy()
    for frames in (np.array([1, 4]), np.array([9])):
        if not exact[frames].all():
            store.supersede(SPACE.key, video_id, frames, vectors(len(frames), int(frames[0])))
            done(f"refined {frames.tolist()}")


class Killer:
    """Counts commit points, and ends the process without warning at one of them."""

    def __init__(self, point: str, count: int) -> None:
        self.target = (point, count)
        self.passed: Counter[str] = Counter()

    def reached(self, point: str) -> None:
        self.passed[point] += 1
        if (point, self.passed[point]) == self.target:
            os.kill(os.getpid(), signal.SIGKILL)


def _live(folder: Path, point: str, count: int) -> None:
    """Run until the end, or until it is killed."""
    if point in ("time", "repair"):
        # nothing handles the alarm: it ends the process as SIGKILL would
        signal.setitimer(signal.ITIMER_REAL, count / 1e6)
    if point == "repair":
        repair(folder)
        return
    with (
        folder.with_suffix(".done").open("a", buffering=1) as log,
        open_store(folder, Killer(point, count).reached) as store,
    ):
        run(store, lambda step: print(step, file=log))


def serve() -> None:
    """Fork a child per line of standard input; the imports are paid for once."""
    for line in sys.stdin:
        folder, point, count = line.rstrip("\n").split("\t")
        child = os.fork()
        if child == 0:
            _live(Path(folder), point, int(count))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
