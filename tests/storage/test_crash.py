"""Killed at any commit point, the store loses nothing committed and shows nothing half-written."""

import importlib.util
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from engine.storage.store import Store

SCENARIO = Path(__file__).with_name("scenario.py")
STEPS = ("begin", "written", "synced", "renamed", "published", "committed")
POINTS = [
    *(f"{what}: {step}" for what in ("stretch", "overlay", "index", "compacted") for step in STEPS),
    *("finish: committed", "remove: committed"),
    *(f"copy: {step}" for step in ("begin", "written", "published")),
]


@pytest.fixture(scope="module")
def scenario() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scenario", SCENARIO)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def undisturbed(scenario: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The state that every run has to end in, and how often each commit point is passed."""
    killer = scenario.Killer("none", 0)
    with scenario.open_store(tmp_path_factory.mktemp("whole"), killer.reached) as store:
        scenario.run(store)
        return state_of(store, scenario), killer.passed


@pytest.fixture(scope="module")
def children() -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, str(SCENARIO)],
        env={"PYTHONPATH": str(SCENARIO.parents[2]), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process


def state_of(store: Store, scenario: ModuleType) -> dict[str, Any]:
    """Return all that a user can see: names for ids, since those may differ."""
    key = scenario.SPACE.key
    names = {video.video_id: video.name for video in store.catalog.videos()}
    columns = ["video_id", "frame", "seconds", "strategy", "exact", "embedding"]
    query = scenario.vectors(1, 7)[0]
    hits = store.search(key, query, 9)
    segments = [
        (names[video_id], segment.sampling, segment.strategy, segment.shown, segment.num_frames)
        for video_id in names
        for segment in store.catalog.segments(video_id, key)
    ]
    rows = [
        {**r, "video_id": names[r["video_id"]]}
        for r in store.rows(key, columns=columns).to_pylist()
    ]
    store.settle()
    return {
        "names": sorted(names.values()),
        "rows": sorted(rows, key=lambda row: (row["video_id"], row["frame"])),
        "hits": [(names[i >> 32], i & 0xFFFFFFFF) for i in hits.row_ids.tolist()],
        "scores": hits.scores.round(5).tolist(),
        "segments": sorted(segments),
        "parts": len(list(store.layout.parts.rglob("*.parquet"))),
        "indexes": len(list(store.layout.indexes.rglob("*.faiss"))),
    }


def check_killed(store: Store, done: list[str], scenario: ModuleType) -> None:
    """Nothing that was committed is lost, and no stretch is there in part."""
    key = scenario.SPACE.key
    assert {problem.kind for problem in store.verify()} <= {"incomplete"}
    table = store.rows(key, columns=["row_id", "exact", "embedding"])
    row_ids = table.column("row_id").to_numpy()
    for video in store.catalog.videos():
        frames = row_ids[row_ids >> 32 == video.video_id] & 0xFFFFFFFF
        assert frames.tolist() == list(range(len(frames)))
        assert len(frames) % scenario.STRETCH == 0
        for step in done if video.name != "c" else ():  # whose old content is replaced
            written = re.fullmatch(rf"{video.name} (fps=\d) (\d)", step)
            if written and f"{video.name} fps=4 finished" not in done:
                names = [s.stretch for s in store.catalog.stretches(video.video_id, key)]
                hidden = store.committed_stretches(video.video_id, key, written[1], "dense")
                assert int(written[2]) in {*names, *hidden}
    if "refined [1, 4]" in done:
        video_id = store.catalog.video("a").video_id
        vectors = store.vectors(key, (video_id << 32) + np.array([1, 4]))
        assert vectors == pytest.approx(scenario.vectors(2, 1), abs=1e-3)
    query = scenario.vectors(1, 3)[0]
    scores = np.array(table.column("embedding").to_pylist(), np.float32).reshape(-1, 6) @ query
    best = row_ids[np.argsort(-scores)][:5]
    assert store.search(key, query, 5).row_ids.tolist() == best.tolist()


@pytest.mark.parametrize("point", POINTS)
def test_killed_at(
    point: str,
    scenario: ModuleType,
    undisturbed: tuple[dict[str, Any], Counter[str]],
    children: "subprocess.Popen[str]",
    tmp_path: Path,
) -> None:
    expected, passed = undisturbed
    assert passed[point] > 0
    assert children.stdin is not None
    assert children.stdout is not None
    counts = {1, passed[point]} if point.startswith(("stretch", "index")) else {passed[point]}
    for count in sorted(counts):
        folder = tmp_path / f"at{count}"
        children.stdin.write(f"{folder}\t{point}\t{count}\n")
        children.stdin.flush()
        assert children.stdout.readline() == "-9\n"
        done = folder.with_suffix(".done").read_text().splitlines()
        with scenario.open_store(folder) as store:
            if store.catalog.spaces():
                check_killed(store, done, scenario)
            scenario.run(store)
            assert state_of(store, scenario) == expected
            assert store.verify() == []
            assert not list(folder.rglob(".*.tmp"))


def test_all_points_are_tried(undisturbed: tuple[dict[str, Any], Counter[str]]) -> None:
    assert set(undisturbed[1]) == set(POINTS)
