"""Videos of a bucket become the rows that their files become, and go on after what breaks off."""

import os
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import pytest

from engine.errors import UnreachedError, VideoError
from engine.footage import footage_of, remove_video
from engine.ingest import IngestOptions, ensure, ingest, register
from engine.ingesting.discover import discover
from engine.ingesting.forecast import forecast
from engine.ingesting.tasks import stored_source
from engine.ingesting.watch import FolderWatch
from engine.objects.blocks import blocks
from engine.search.context import Range
from engine.storage.store import Store
from tests.objects.s3 import S3

DENSE = IngestOptions(strategy="dense")
FILMS = "s3://bucket/films/"


@pytest.fixture
def films(s3: S3, clips: Path) -> S3:
    for name in ("middle.mp4", "short.mp4"):
        s3.put(f"films/{name}", (clips / name).read_bytes())
    return s3


def outcomes(report) -> dict[str, str]:
    return {video.name: video.outcome for video in report.videos}


def test_rows_are_those_of_the_files(store, model, films, clips, stored, tmp_path) -> None:
    report = ingest(store, model, [FILMS], DENSE)
    assert outcomes(report) == {"middle.mp4": "ready", "short.mp4": "ready"}
    with Store.open(tmp_path / "local") as local:
        ingest(local, model, [clips / "middle.mp4", clips / "short.mp4"], DENSE)
        assert stored(store, model.space.key) == stored(local, model.space.key)
    assert store.verify() == []
    assert [video.path for video in store.catalog.videos()] == [
        "s3://bucket/films/middle.mp4", "s3://bucket/films/short.mp4",
    ]  # fmt: skip
    films.objects["other/copy.mp4"] = films.objects["films/short.mp4"]
    again = ingest(store, model, ["s3://bucket/**/*.mp4"], DENSE)
    assert set(outcomes(again).values()) == {"known"}
    assert sum(video.pictures for video in again.videos) == 0
    assert set(store.catalog.video(2).names) == {"short.mp4", "copy.mp4"}
    [told, _] = forecast([FILMS], DENSE).files
    assert (told.outcome, told.frames) == ("new", 20)


def test_changed_content_is_a_new_version(store, model, films, make_clip, tmp_path) -> None:
    ingest(store, model, [FILMS], DENSE)
    films.put("films/short.mp4", make_clip(tmp_path / "x.mp4", 3.5, seed=9).read_bytes())
    with pytest.raises(VideoError, match="has changed since it was ingested"):
        stored_source(store, 2, 2.0)
    assert not ensure(store, model, [Range(2, 0.0, 9.0)], DENSE).complete
    report = ingest(store, model, [FILMS], DENSE)
    assert [(v.outcome, v.rows) for v in report.videos] == [("known", 20), ("ready", 7)]
    assert sorted(video.name for video in store.catalog.videos()) == ["middle.mp4", "short.mp4"]


def test_what_is_out_of_reach_stays_as_it_was(store, model, films, stored) -> None:
    ingest(store, model, [FILMS], DENSE)
    before = stored(store, model.space.key)
    films.fail("films/short", 10**6, status=403, code="AccessDenied")
    found = discover([FILMS])
    report = ingest(store, model, found, DENSE)
    assert outcomes(report) == {"middle.mp4": "known", "short.mp4": "quarantined"}
    assert "no right to read s3://bucket/films/short.mp4" in str(report.videos[1].reason)
    assert stored(store, model.space.key) == before
    assert store.catalog.video("short.mp4").status == "ready"
    blocks.cache_clear()
    with pytest.raises(UnreachedError, match="no right"):
        footage_of(store, "short.mp4").frame(1.0, 32)
    films.faults.clear()
    assert set(outcomes(ingest(store, model, [FILMS], DENSE)).values()) == {"known"}
    assert footage_of(store, "short.mp4").frame(1.0, 32)[:2] == b"\xff\xd8"


def test_a_break_in_the_middle_goes_on_later(store, model, s3, clips, stored, tmp_path) -> None:
    s3.put("films/long.mp4", (clips / "long.mp4").read_bytes())
    register(store, [FILMS])
    blocks.cache_clear()
    found, asked = discover([clips / "short.mp4", FILMS]), len(s3.asked)
    s3.fail("^GET", 10**6)
    s3.faults[0].matches = lambda method, _: method == "GET" and len(s3.asked) > asked + 5
    report = ingest(store, model, found, DENSE)
    assert report.videos[0].outcome == "ready"
    assert 0 <= report.videos[1].rows < 200
    s3.faults.clear()
    blocks.cache_clear()
    later = ingest(store, model, [FILMS], DENSE)
    assert [v.outcome for v in later.videos] == ["ready"]
    assert later.videos[0].rows == 200
    with Store.open(tmp_path / "local") as local:
        ingest(local, model, [clips / "short.mp4", clips / "long.mp4"], DENSE)
        assert stored(store, model.space.key) == stored(local, model.space.key)
    assert store.verify() == []


_CHILD = """
import sys
from pathlib import Path
from engine.ingest import IngestOptions, ingest
from engine.storage.store import Store
from tests.ingesting.conftest import small_model
with Store.open(Path(sys.argv[1])) as store:
    ingest(store, small_model(), ["s3://bucket/films/"], IngestOptions(strategy="dense", workers=1))
"""


def test_a_killed_ingest_goes_on(model, s3, clips, stored, tmp_path) -> None:
    for name in ("long.mp4", "middle.mp4"):
        s3.put(f"films/{name}", (clips / name).read_bytes())
    data = tmp_path / "data"
    parts = lambda: len(list(data.rglob("*.parquet")))  # noqa: E731
    s3.fail("^GET", 10**6, delay=120.0)
    s3.faults[0].matches = lambda method, _: method == "GET" and parts() >= 2
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(data)], cwd=Path(__file__).parents[2],
        env={**os.environ, "DEJAVU_OBJECT_SECONDS": "120", "DEJAVU_OBJECT_CACHE_BYTES": "1048576"},
    )  # fmt: skip
    until = monotonic() + 120
    while parts() < 2 and child.poll() is None:
        assert monotonic() < until
        sleep(0.01)
    child.kill()
    child.wait()
    s3.faults.clear()
    with Store.open(data) as store, Store.open(tmp_path / "local") as local:
        report = ingest(store, model, [FILMS], DENSE)
        assert set(outcomes(report).values()) <= {"ready", "known"}
        assert sum(video.frames for video in report.videos) < 220
        ingest(local, model, [clips / "long.mp4", clips / "middle.mp4"], DENSE)
        assert stored(store, model.space.key) == stored(local, model.space.key)
        assert store.verify() == []


def test_what_is_gone_is_said(store, model, films) -> None:
    ingest(store, model, [FILMS], DENSE)
    del films.objects["films/short.mp4"]
    blocks.cache_clear()
    with pytest.raises(VideoError, match=r"no object s3://bucket/films/short\.mp4"):
        footage_of(store, "short.mp4").frame(1.0, 32)
    assert store.verify() == []  # rows need no source
    remove_video(store, "short.mp4")
    assert [video.name for video in store.catalog.videos()] == ["middle.mp4"]


def test_a_watch_sees_what_comes_moves_and_goes(films) -> None:
    watch = FolderWatch(lambda: discover([FILMS]), 5)

    def told(now: float) -> list[tuple[str, str, str | None]]:
        return [(each.kind, each.found.name, each.before) for each in watch.changes(now)]

    assert told(0) == []
    assert told(5) == [("settled", "middle.mp4", None), ("settled", "short.mp4", None)]
    films.objects["films/new.mp4"] = films.objects.pop("films/short.mp4")
    assert told(6) == [("moved", "new.mp4", "short.mp4")]
    films.put("films/middle.mp4", b"other")
    assert told(7) == []
    assert told(11) == [("settled", "new.mp4", None)]
    del films.objects["films/new.mp4"]
    assert told(12) == [("gone", "new.mp4", None), ("settled", "middle.mp4", None)]
