"""Coarse videos: queries embed where the answer may be, idle time the rest."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine import Engine
from engine.deepen import DeepenReport, likeliest
from engine.errors import UsageError
from engine.search.missing import stands_until
from engine.world.make import make_world


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    make_world(folder, "test", 3, 11)
    return folder


@pytest.fixture(scope="module")
def keys(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed store with a row for each key picture, to be copied."""
    data = tmp_path_factory.mktemp("keys") / "data"
    with Engine.open(data, strategy="dense", fps=1) as engine:
        engine.ingest(clips, coverage="keys")
    return data


@pytest.fixture
def coarse(keys: Path, tmp_path: Path) -> Iterator[Engine]:
    copy = shutil.copytree(keys, tmp_path / "coarse")
    with Engine.open(copy, strategy="dense", fps=1) as engine:
        yield engine


def test_a_query_embeds_a_part_and_says_what_it_did_not_look_at(
    clips: Path, coarse: Engine
) -> None:
    told = json.loads((clips / "world.json").read_text())["clips"]
    seconds = sum(video.duration_seconds or 0.0 for video in coarse.videos())
    before = coarse.sql("SELECT count(*) AS n FROM frames").rows()[0]["n"]
    found = coarse.query(told[0]["caption"], top_k=1, deepen_gops=1)
    after = coarse.sql("SELECT count(*) AS n FROM frames").rows()[0]["n"]
    assert found.moments[0].name == told[0]["file"]
    assert after > before
    assert found.coverage.embedded > 0
    assert not found.coverage.complete
    assert 0 < found.coverage.coarse_seconds < seconds
    assert all("coarse" in reason for reason in found.coverage.lacking)
    again = coarse.query(told[0]["caption"], top_k=1, deepen_gops=0)
    assert again.coverage.embedded == 0
    assert again.coverage.coarse_seconds == pytest.approx(found.coverage.coarse_seconds)


def test_a_first_frame_stands_for_its_group_beside_groups_that_are_whole(
    clips: Path, coarse: Engine
) -> None:
    text = json.loads((clips / "world.json").read_text())["clips"][0]["caption"]
    coarse.query(text, top_k=1, deepen_gops=1)
    view, kinds = coarse.store.view(coarse.space), set()
    for video in coarse.videos():
        rows = coarse.sql(f"SELECT seconds FROM frames WHERE video_id = {video.video_id}").rows()
        seconds = np.sort([row["seconds"] for row in rows])
        until = stands_until(view, video.video_id, seconds)
        for gop in coarse.store.catalog.gops(video.video_id):
            inside = (seconds >= gop.start_seconds - 1e-6) & (seconds < gop.stop_seconds - 1e-6)
            whole = inside.sum() > 1
            kinds.add(bool(whole))
            assert until is not None
            expected = seconds[inside] if whole else [gop.stop_seconds]
            assert until[inside].tolist() == pytest.approx(list(expected))
    assert kinds == {True, False}


def test_what_is_asked_for_exactly_is_what_dense_rows_give(
    clips: Path, coarse: Engine, tmp_path: Path
) -> None:
    text = json.loads((clips / "world.json").read_text())["clips"][1]["caption"]
    with Engine.open(tmp_path / "fine", strategy="dense", fps=1) as fine:
        fine.ingest(clips)
        wanted = fine.query(text, top_k=5)
    found = coarse.query(text, top_k=5, exact=True)
    assert found.moments == wanted.moments
    assert found.coverage.complete
    assert found.coverage.coarse_seconds == 0


class Watch:
    def __init__(self, most: int) -> None:
        self.seen: list[DeepenReport] = []
        self.most = most

    def deepened(self, report: DeepenReport) -> None:
        self.seen.append(report)

    def stopped(self) -> bool:
        return len(self.seen) >= self.most


def test_idle_time_embeds_the_rest(coarse: Engine) -> None:
    first = coarse.deepen(progress=Watch(1))
    assert (first.gops, first.frames) == (0, 0)
    assert first.left_gops == len(likeliest(coarse.store.view(coarse.space)))
    watch = Watch(99)
    report = coarse.deepen(progress=watch)
    assert (report.left_gops, report.left_seconds) == (0, 0)
    assert report.gops == first.left_gops
    lefts = [each.left_gops for each in watch.seen]
    assert lefts == sorted(lefts, reverse=True)
    assert all(video.state == "complete" for video in coarse.completeness())
    assert coarse.deepen().frames == 0
    with pytest.raises(UsageError, match="seconds"):
        coarse.deepen(seconds=0)


def test_the_most_changed_places_come_first(coarse: Engine) -> None:
    view = coarse.store.view(coarse.space)
    ranked = likeliest(view)
    columns = ["video_id", "seconds", "embedding"]
    rows = coarse.store.rows(coarse.space, None, columns).to_pylist()
    change: dict[tuple[int, float], float] = {}
    for video in {each.video_id for each in ranked}:
        own = sorted((r["seconds"], r["embedding"]) for r in rows if r["video_id"] == video)
        vectors = np.array([vector for _, vector in own], np.float64)
        starts = sorted(each.start_seconds for each in ranked if each.video_id == video)
        assert len(own) == len(starts)
        for at, start in enumerate(starts):
            after = vectors[min(at + 1, len(own) - 1)]
            change[video, start] = 1 - float(vectors[at] @ after)
    found = [change[each.video_id, each.start_seconds] for each in ranked]
    assert found == pytest.approx(sorted(found, reverse=True), abs=1e-3)
