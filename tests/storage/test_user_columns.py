"""Users' columns against a dictionary, and what outlives a lost catalog."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import NotFoundError, UsageError
from engine.storage.backup import backup
from engine.storage.repair import repair
from engine.storage.store import Rows, Store
from engine.storage.user_columns import as_kind, as_text, kind_of_text, wide_videos
from engine.video.container import VideoInfo
from engine.vision.backbone.space import Space

MakeInfo = Callable[[str], VideoInfo]
KINDS = {"camera": "text", "count": "number", "kept": "bool", "seen": "timestamp"}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9),
    "number": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60),
    "bool": st.booleans(),
    "timestamp": st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1)),
}
CHANGES = st.lists(
    st.sampled_from(sorted(KINDS)).flatmap(
        lambda name: st.tuples(
            st.just(name), st.sets(st.integers(1, 4)), st.none() | VALUES[KINDS[name]]
        )
    ),
    max_size=12,
)


@given(CHANGES)
@settings(max_examples=15, deadline=None)
def test_columns_are_as_a_dictionary_has_them(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, set[int], Any]]
) -> None:
    info = VideoInfo("/a/v.mp4", "h264", 64, 48, 0, 30.0, 10.0, 0.0, 300, 1, "yuv420p", False)
    model: dict[int, dict[str, Any]] = {video: {} for video in range(1, 5)}
    root = tmp_path_factory.mktemp("columns")
    with Store.open(root) as store:
        for number in model:
            assert store.catalog.add_video(info, f"{number:064x}", f"v{number}") == number
        for name, videos, value in changes:
            store.catalog.set_values(sorted(videos), {name: value})
            for video in videos:
                model[video].pop(name, None)
                if value is not None:
                    model[video][name] = float(value) if KINDS[name] == "number" else value
        wide = wide_videos(store._database)
        for number, values in model.items():
            assert store.catalog.video(number).columns == values
            for name in store.catalog.columns():
                assert wide.column(name).to_pylist()[number - 1] == values.get(name)
        made = {name for name, _, value in changes if value is not None}
        assert store.catalog.columns() == {name: KINDS[name] for name in sorted(made)}
    with Store.read(root) as again:  # what was published is the same
        found = [video.columns for video in again.catalog.videos()]
    assert found == list(model.values())


@given(st.sampled_from(sorted(KINDS.values())).flatmap(lambda k: st.tuples(st.just(k), VALUES[k])))
def test_a_value_comes_back_from_its_text(case: tuple[Any, Any]) -> None:
    kind, value = case
    assert as_kind("x", as_text(as_kind("x", value, kind)), kind) == as_kind("x", value, kind)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("north", "text"), ("TRUE", "bool"), ("3", "number"), ("1e3", "number"), ("-.5", "number"),
        ("2026-03-01", "timestamp"), ("2026-03-01T10:00:00Z", "timestamp"), ("nan", "text"),
        ("inf", "text"), ("1_000", "text"), ("", "text"), ("12:30", "text"),
    ],
)  # fmt: skip
def test_the_kind_that_a_typed_text_has(text: str, kind: str) -> None:
    assert kind_of_text(text) == kind


def test_what_is_refused_changes_nothing(empty_store: Store, make_info: MakeInfo) -> None:
    catalog = empty_store.catalog
    video = catalog.add_video(make_info("/v.mp4"), "a" * 64, "v.mp4")
    catalog.set_values([video], {"count": 3})
    for values, said in (
        ({"count": "many", "fresh": "x"}, "column count holds finite numbers, got 'many'"),
        ({"name": "x"}, "column 'name' is the store's own"),
        ({"frame": 1}, "column 'frame' is the store's own"),
        ({"score": 1}, "column 'score' is the store's own"),
        ({"Ümlaut": 1}, "allowed: up to 63 lower-case letters"),
        ({"__match_1": 1}, "allowed: up to 63 lower-case letters"),
        ({"x": float("nan")}, "column x holds finite numbers, got 'nan'"),
        ({"x": ["a"]}, "column x got a list"),
        ({"recorded_at": "yesterday"}, "column recorded_at holds days and instants"),
    ):
        with pytest.raises(UsageError, match=said):
            catalog.set_values([video], values)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="column count holds number, not text; drop it first"):
        catalog.set_values([video], {"count": "x"}, {"count": "text"})
    with pytest.raises(UsageError, match="65 columns; allowed: 64"):
        catalog.set_values([video], {f"c{number}": 1 for number in range(64)})
    assert catalog.columns() == {"count": "number"}
    with pytest.raises(NotFoundError, match="unknown column 'cuont'; allowed: count; nearest"):
        catalog.drop_column("cuont")
    catalog.drop_column("count")
    assert (catalog.columns(), catalog.video(video).columns) == ({}, {})


def test_values_go_with_their_video(empty_store: Store, make_info: MakeInfo) -> None:
    catalog = empty_store.catalog
    video = catalog.add_video(make_info("/v.mp4"), "a" * 64, "v.mp4")
    catalog.set_values([video, 99], {"camera": "north"})  # there is no 99
    catalog.remove_video(video)
    assert empty_store._database.all("SELECT * FROM cells") == []


def test_when_it_was_recorded(empty_store: Store, make_info: MakeInfo) -> None:
    catalog = empty_store.catalog
    named, told = (
        datetime(2026, 3, 1, 8),
        datetime(2026, 3, 1, 9, tzinfo=timezone(timedelta(hours=1))),
    )
    video = catalog.add_video(make_info("/v.mp4"), "a" * 64, "v.mp4")
    assert catalog.video(video).recorded_at is None
    catalog.add_video(make_info("/v.mp4"), "a" * 64, "v.mp4", named)
    assert (catalog.video(video).recorded_at, catalog.video(video).recorded_from) == (named, "name")
    catalog.set_values([video], {"recorded_at": told})
    catalog.add_video(make_info("/v.mp4"), "a" * 64, "v.mp4", named + timedelta(days=1))
    assert catalog.video(video).recorded_at == told.astimezone(UTC).replace(tzinfo=None)
    assert catalog.video(video).recorded_from == "given"
    catalog.set_values([video], {"recorded_at": None})
    assert catalog.video(video).recorded_from is None


@pytest.mark.parametrize("path", ["/a/b/c.mp4", "/c.mp4", "/a b/ä/c.mp4", "/a\\b/c.mp4"])
def test_the_folder(empty_store: Store, make_info: MakeInfo, path: str) -> None:
    empty_store.catalog.add_video(make_info(path), "a" * 64, "v.mp4")
    expected = str(PurePosixPath(path).parent)
    assert wide_videos(empty_store._database)["folder"].to_pylist() == [expected.rstrip("/")]


def said_of(store: Store) -> Any:
    catalog = store.catalog
    videos = [(v.content_hash, v.columns, v.recorded_at, v.recorded_from) for v in catalog.videos()]
    return catalog.columns(), sorted(videos), catalog.views()


@pytest.fixture
def noted(store_with_two_videos: Store) -> tuple[Path, Any]:
    """A closed store of whose videos something was said."""
    catalog = store_with_two_videos.catalog
    first, second = (video.video_id for video in catalog.videos())
    catalog.set_values([first], {"camera": "nörth", "count": 0.1, "kept": True})
    catalog.set_values([second], {"seen": datetime(2026, 3, 1, 12, 30, 1, 5)})
    catalog.set_values([second], {"recorded_at": datetime(2026, 3, 1)})
    catalog.save_view("calm", "SELECT * FROM videos WHERE kept")
    expected = said_of(store_with_two_videos)
    store_with_two_videos.close()
    return store_with_two_videos.layout.root, expected


def lose_catalog(root: Path) -> None:
    for path in [root / "catalog.duckdb", *(root / "published").iterdir()]:
        path.unlink()


def test_it_outlives_the_catalog_and_its_copy(noted: tuple[Path, Any]) -> None:
    root, expected = noted
    lose_catalog(root)
    assert repair(root).catalog == "from the parts alone"
    with Store.open(root) as store:
        assert said_of(store) == expected


def test_it_is_in_a_backup(noted: tuple[Path, Any], tmp_path: Path) -> None:
    root, expected = noted
    backup(root, tmp_path / "copy")
    with Store.open(tmp_path / "copy") as store:
        assert said_of(store) == expected
    lose_catalog(tmp_path / "copy")
    repair(tmp_path / "copy")
    with Store.open(tmp_path / "copy") as store:
        assert said_of(store) == expected


def test_notes_that_cannot_be_given_back_are_kept(noted: tuple[Path, Any]) -> None:
    root, expected = noted
    notes = json.loads((root / "notes.json").read_text())
    notes["videos"]["f" * 64] = {"recorded": [None, None], "cells": {"camera": "gone"}}
    notes["format"] = 1  # as it was before there was a digest
    del notes["sha256"]
    (root / "notes.json").write_text(json.dumps(notes))
    lose_catalog(root)
    assert "columns of 1 videos without rows are kept" in "".join(repair(root).set_aside)
    assert "gone" in (root / "lost+found" / "notes-0.json").read_text()
    with Store.open(root) as store:
        assert said_of(store) == expected
    for damage in ("{", "[]", '{"format": 9}', json.dumps({**notes, "columns": {}})):
        lose_catalog(root)
        (root / "notes.json").write_text(damage)
        assert "notes.json is damaged" in "".join(repair(root).set_aside)


def test_what_is_noted_is_what_duckdb_reads(noted: tuple[Path, Any]) -> None:
    """The catalog's own tables tell it to any DuckDB."""
    root, _ = noted
    with duckdb.connect(str(root / "catalog.duckdb"), read_only=True) as catalog:
        found = catalog.sql("SELECT name, value FROM cells ORDER BY name").fetchall()
    assert found == [
        ("camera", "nörth"),
        ("count", "0.1"),
        ("kept", "true"),
        ("seen", "2026-03-01T12:30:01.000005"),
    ]


def test_frames_know_when_they_were_recorded(
    empty_store: Store, make_info: MakeInfo, make_rows: Callable[..., Rows], space: Space
) -> None:
    from engine.storage.sampling import Sampling

    for number in (1, 2):
        video = empty_store.catalog.add_video(make_info("/v.mp4"), f"{number}" * 64, f"v{number}")
        empty_store.write_part(video, space.key, Sampling(2), "dense", 0, 0.0, 2.0, make_rows(0, 4))
    when = datetime(2026, 3, 1, 12, 0, 0, 7)
    empty_store.catalog.set_values([2], {"recorded_at": when})
    frames = empty_store.view(space.key).frames
    table = frames.table(["at", "video_id", "seconds"])
    for row in table.to_pylist():
        later = when + timedelta(seconds=row["seconds"])
        assert row["at"] == (later if row["video_id"] == 2 else None)
    with empty_store._database.cursor() as cursor:  # the catalog's own view of them
        told = cursor.sql("SELECT frames.at FROM frames ORDER BY video_id, frame").fetchall()
    assert [row[0] for row in told] == table.column("at").to_pylist()
    empty_store.catalog.set_values([2], {"recorded_at": None})
    assert empty_store.view(space.key).frames.table(["at"]).column("at").null_count == 8
