"""Key pictures first: the coarse rows of a video are some of its fine ones."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.ingest import IngestOptions, ensure, ingest
from engine.ingesting.plan import cut_coarsely
from engine.search.context import Range
from engine.storage.store import Store
from engine.video.gop import Gop
from tests.ingesting.conftest import make_clip, stored

DENSE = IngestOptions(strategy="dense")
KEYS = IngestOptions(strategy="dense", coverage="keys")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Twenty seconds in groups of two and a half at most."""
    return make_clip(tmp_path / "clip.mp4", 20, fps=8, gop=20)


def test_coarse_rows_are_the_first_fine_rows_of_their_groups(model, clip, tmp_path) -> None:
    with Store.open(tmp_path / "fine") as fine:
        ingest(fine, model, [clip], DENSE)
        [rows] = stored(fine, model.space.key).values()
        [video] = fine.catalog.videos()
        starts = [gop.start_seconds for gop in fine.catalog.gops(video.video_id)]
    with Store.open(tmp_path / "coarse") as coarse:
        report = ingest(coarse, model, [clip], KEYS)
        [first] = stored(coarse, model.space.key).values()
        [known] = coarse.completeness(model.space.key)
    assert 8 <= len(starts) < 20
    times = [float(row[1]) for row in rows]
    wanted = [next(at for at, time in enumerate(times) if time >= s - 1e-6) for s in starts]
    assert first == [rows[at] for at in wanted]
    assert report.videos[0].pictures < 0.3 * 160
    assert (known.state, known.embedded, known.lacks_rows) == ("coarse", len(wanted), True)
    assert "deepen" in str(known.reason)
    assert "first frame" in report.promise


def test_a_coarse_video_becomes_the_fine_one_part_by_part(model, clip, tmp_path) -> None:
    with Store.open(tmp_path / "fine") as fine:
        ingest(fine, model, [clip], DENSE)
        wanted = stored(fine, model.space.key)
    with Store.open(tmp_path / "coarse") as store:
        ingest(store, model, [clip], KEYS)
        gops = store.catalog.gops(1)
        first = gops[1]
        ensure(store, model, [Range(1, first.start_seconds, first.stop_seconds)], DENSE)
        inside = [
            row
            for row in wanted["clip.mp4"]
            if first.start_seconds <= float(row[1]) < first.stop_seconds
        ]
        [rows] = stored(store, model.space.key).values()
        assert [row for row in rows if row in inside] == inside
        assert len(rows) == len(gops) + len(inside) - 1
        again = ingest(store, model, [clip], KEYS)
        assert (again.videos[0].outcome, again.frames) == ("known", 0)
        ensure(store, model, [Range(1, 0.0, 20.0)], DENSE)
        [known] = store.completeness(model.space.key)
        assert (known.state, known.planned, known.embedded) == ("complete", 40, 40)
        assert stored(store, model.space.key) == wanted
        assert ingest(store, model, [clip], KEYS).videos[0].outcome == "known"
        assert store.verify() == []


def test_a_coarse_store_is_repaired_from_its_files(model, clip, tmp_path) -> None:
    with Store.open(tmp_path / "coarse") as store:
        ingest(store, model, [clip], KEYS)
        before = stored(store, model.space.key)
        ingest(store, model, [clip], DENSE)
        assert len(next(iter(stored(store, model.space.key).values()))) == 40
        assert before.keys() == stored(store, model.space.key).keys()
        assert store.completeness(model.space.key)[0].state == "complete"


def test_no_coverage_is_registering(model, clip, tmp_path) -> None:
    with Store.open(tmp_path / "data") as store:
        report = ingest(store, model, [clip], IngestOptions(coverage="none"))
        assert (report.coverage, report.frames) == ("none", 0)
        assert [video.status for video in store.catalog.videos()] == ["registered"]
    with pytest.raises(UsageError, match="coverage"):
        IngestOptions(coverage="some")  # type: ignore[arg-type]


@given(st.lists(st.floats(0.01, 9.0), min_size=1, max_size=1500))
def test_coarse_stretches_cover_a_video_once(lengths: Sequence[float]) -> None:
    edges = [0.0]
    for length in lengths:
        edges.append(edges[-1] + length)
    gops = [Gop(at, edges[at], edges[at + 1], 1, at) for at in range(len(lengths))]
    stretches = cut_coarsely(gops)
    assert stretches[0].start_seconds == 0.0
    assert stretches[-1].stop_seconds == edges[-1]
    assert all(one.stop_seconds == two.start_seconds for one, two in pairwise(stretches))
