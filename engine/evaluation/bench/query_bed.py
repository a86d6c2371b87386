"""The rows that `bench query` asks: written once, with the exact answers, and kept where asked."""

import json
import resource
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from engine.evaluation.bench import search as made
from engine.evaluation.bench.peers import Duck, Lance
from engine.storage import row_id
from engine.storage.store import Store

MOST = 100  # nearest rows that are known of each query
FILTERS = {"none": 1.0, "50 %": 0.5, "5 %": 0.05, "0.5 %": 0.005}  # share of rows that pass
DUCK_ROWS = 100_000  # a brute-force scan of more takes seconds a query


@dataclass(frozen=True, slots=True)
class WhatItTook:
    """What writing and building took, in seconds, and the bytes a row that they left on disk."""

    write: float | None = None
    build: float | None = None
    lance_write: float | None = None
    lance_build: float | None = None
    lance_kind: str = ""
    bytes_a_row: float | None = None  # parts and catalog
    index_bytes_a_row: float | None = None
    lance_bytes_a_row: float | None = None


Step = Callable[[Path, int, int], dict[str, Any]]  # root, rows, seed


def lay(
    root: Path, num_rows: int, seed: int, run: Callable[[Step, Path, int, int], Any]
) -> WhatItTook:
    """Write and build what is not there yet; `run` calls a step, in another process or in this."""
    path = root / "taken.json"
    taken = json.loads(path.read_text()) if path.exists() else {"done": []}
    for step in (_write, _build, _write_lance, _build_lance, _write_duck):
        if step.__name__ not in taken["done"]:
            taken |= run(step, root, num_rows, seed)
            taken["done"].append(step.__name__)
            path.write_text(json.dumps(taken))
    return WhatItTook(
        **{each.name: taken[each.name] for each in fields(WhatItTook) if each.name in taken}
    )


def truth_of(root: Path) -> dict[str, np.ndarray]:
    """Return the ids of the nearest rows by filter: int64 `[queries, 100]`, best first."""
    with np.load(root / "truth.npz") as found:
        return {name: found[name] for name in FILTERS}


def queries_of(num_rows: int, seed: int) -> np.ndarray:
    """Return queries like texts: float32 `[n, E]`."""
    return made.queries_for(made.cone_like(None, seed), num_rows)[1]


def seconds_below(name: str) -> float:
    """Return the time in each video before which the rows of a filter lie."""
    return FILTERS[name] * made.VIDEO_ROWS / 2


def _write(root: Path, num_rows: int, seed: int) -> dict[str, float]:
    """Write our rows, and the exact answers, which come along the way."""
    _clear(root / "ours")
    queries = queries_of(num_rows, seed)
    best = {name: NearestSoFar.of_none(len(queries)) for name in FILTERS}
    seconds = 0.0
    with Store.open(root / "ours") as store:
        store.catalog.add_space(made.SPACE)
        cone = made.cone_like(None, seed)
        for video_id, vectors in made.made_videos(store, cone, num_rows):
            seconds += made.write_video(store, video_id, vectors)
            own = row_id.pack(video_id, np.arange(len(vectors)))
            scores = queries @ vectors.astype(np.float16).astype(np.float32).T
            for name, held in best.items():
                count = int((np.arange(len(vectors)) / 2 < seconds_below(name)).sum())
                best[name] = held.with_rows(own[:count], scores[:, :count])
    ids: dict[str, Any] = {name: held.ids for name, held in best.items()}
    np.savez(root / "truth.npz", **ids)
    return {"write": seconds, "bytes_a_row": _size(root / "ours") / num_rows}


@dataclass(frozen=True, slots=True)
class NearestSoFar:
    """The nearest rows of each query so far, best first."""

    ids: np.ndarray  # int64 [queries, n]
    scores: np.ndarray  # float32 [queries, n]

    @classmethod
    def of_none(cls, count: int) -> "NearestSoFar":
        """Begin without rows."""
        return cls(np.empty((count, 0), np.int64), np.empty((count, 0), np.float32))

    def with_rows(self, ids: np.ndarray, scores: np.ndarray) -> "NearestSoFar":
        """Return this with more rows looked at, whose scores are `[queries, n]`."""
        every = np.concatenate([self.scores, scores], axis=1)
        named = np.concatenate([self.ids, np.broadcast_to(ids, scores.shape)], axis=1)
        if every.shape[1] > MOST:
            kept = np.argpartition(-every, MOST - 1, axis=1)[:, :MOST]
            every, named = np.take_along_axis(every, kept, 1), np.take_along_axis(named, kept, 1)
        order = np.argsort(-every, axis=1)
        return NearestSoFar(
            np.take_along_axis(named, order, 1), np.take_along_axis(every, order, 1)
        )


def _build(root: Path, num_rows: int, seed: int) -> dict[str, float]:
    del seed
    seconds = made.build(root / "ours")
    return {"build": seconds, "index_bytes_a_row": _size(root / "ours" / "indexes") / num_rows}


def _write_lance(root: Path, num_rows: int, seed: int) -> dict[str, float]:
    _clear(root / "lance")
    lance = Lance.write(root / "lance", _rows(root, num_rows, seed))
    return {} if lance is None else {"lance_write": lance.write_seconds}


def _build_lance(root: Path, num_rows: int, seed: int) -> dict[str, float | str]:
    del seed
    lance = Lance.open(root / "lance")
    if lance is None:
        return {}
    lance.build(num_rows)
    return {
        "lance_build": lance.build_seconds,
        "lance_kind": lance.kind,
        "lance_bytes_a_row": _size(root / "lance") / num_rows,
    }


def _write_duck(root: Path, num_rows: int, seed: int) -> dict[str, float]:
    (root / "duck.db").unlink(missing_ok=True)
    if num_rows <= DUCK_ROWS:
        duck = Duck.write(root / "duck.db", _rows(root, num_rows, seed), made.DIMENSION, 2)
        duck.connection.close()
    return {}


def _rows(root: Path, num_rows: int, seed: int) -> Iterator[tuple[int, np.ndarray]]:
    cone = made.cone_like(None, seed)
    with Store.open(root / "ours") as store:
        ids = [video.video_id for video in store.catalog.videos()]
    for place, video_id in enumerate(ids):
        size = min(made.VIDEO_ROWS, num_rows - place * made.VIDEO_ROWS)
        yield video_id, made.video_vectors(cone, place, size)


def _clear(folder: Path) -> None:
    """Delete what a step that was broken off has left."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def open_lance(root: Path, taken: WhatItTook) -> Lance | None:
    """Open the peer's table where there is one with an index."""
    return Lance.open(root / "lance", taken.lance_kind) if taken.lance_kind else None


def resident_bytes() -> int:
    """Return the memory of this process that is in use now, mapped files included."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
