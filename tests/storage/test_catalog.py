"""Videos by content and name, GOPs, spaces, jobs, calibration."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import NotFoundError, UsageError
from engine.storage.store import Store
from engine.video.container import VideoInfo
from engine.video.gop import Gop
from engine.vision.backbone.space import Space

MakeInfo = Callable[[str], VideoInfo]


def test_the_same_content_under_two_names_is_one_video(
    empty_store: Store, make_info: MakeInfo
) -> None:
    catalog = empty_store.catalog
    first = catalog.add_video(make_info("/a.mp4"), "hash", "a")
    assert catalog.add_video(make_info("/copy/a.mp4"), "hash", "copy") == first
    assert catalog.video("copy").names == ("a", "copy")
    assert [video.name for video in catalog.videos()] == ["a"]
    assert catalog.find_content("hash") == catalog.video(first)
    assert catalog.find_content("other") is None


def test_new_content_under_a_name_is_a_new_version(
    store_with_two_videos: Store, make_info: MakeInfo, space: Space
) -> None:
    catalog = store_with_two_videos.catalog
    old = catalog.video("a").video_id
    new = catalog.add_video(make_info("/a.mp4"), "another hash", "a")
    assert new != old
    assert len(store_with_two_videos.rows(space.key, [old])) == 0
    with pytest.raises(NotFoundError):
        catalog.video(old)
    store_with_two_videos.settle()
    assert len(list(store_with_two_videos.layout.parts.rglob("*.parquet"))) == 2
    assert len(store_with_two_videos.rows(space.key)) == 20


def test_content_with_another_name_outlives_the_loss_of_one(
    empty_store: Store, make_info: MakeInfo
) -> None:
    catalog = empty_store.catalog
    old = catalog.add_video(make_info("/a.mp4"), "hash", "a")
    assert catalog.add_video(make_info("/kept.mp4"), "hash", "kept") == old
    catalog.add_video(make_info("/a.mp4"), "another hash", "a")
    video = catalog.video(old)
    assert (video.name, video.path, video.names) == ("kept", "/kept.mp4", ("kept",))


def test_an_alias_taken_from_another_video_removes_what_has_no_name_left(
    empty_store: Store, make_info: MakeInfo
) -> None:
    catalog = empty_store.catalog
    a = catalog.add_video(make_info("/a.mp4"), "hash a", "a")
    catalog.add_video(make_info("/b.mp4"), "hash b", "b")
    assert catalog.add_video(make_info("/a.mp4"), "hash a", "b") == a
    assert [video.names for video in catalog.videos()] == [("a", "b")]


def test_rename(empty_store: Store, make_info: MakeInfo) -> None:
    catalog = empty_store.catalog
    catalog.add_video(make_info("/a.mp4"), "hash a", "a")
    catalog.add_video(make_info("/b.mp4"), "hash b", "b")
    catalog.rename("a", "c")
    assert catalog.video("c").name == "c"
    with pytest.raises(UsageError, match="another video has that name"):
        catalog.rename("c", "b")


def test_an_unknown_video_names_the_nearest(empty_store: Store, make_info: MakeInfo) -> None:
    empty_store.catalog.add_video(make_info("/holiday.mp4"), "hash", "holiday.mp4")
    with pytest.raises(NotFoundError, match=r"nearest: holiday\.mp4"):
        empty_store.catalog.video("holidy.mp4")
    with pytest.raises(NotFoundError, match="no video 7 among the 1 stored names"):
        empty_store.catalog.remove_video(7)


def test_videos_by_glob(empty_store: Store, make_info: MakeInfo) -> None:
    for name in ("day/1.mp4", "day/2.mp4", "night/1.mp4"):
        empty_store.catalog.add_video(make_info(name), f"hash {name}", name)
    found = [video.name for video in empty_store.catalog.videos("day/*")]
    assert found == ["day/1.mp4", "day/2.mp4"]
    odd = empty_store.catalog.add_video(make_info("odd"), "hash odd", "it's [1].mp4")
    assert [video.video_id for video in empty_store.catalog.videos("it's [1].mp4")] == [odd]


def test_quarantine_and_recovery(empty_store: Store, make_info: MakeInfo) -> None:
    catalog = empty_store.catalog
    video_id = catalog.quarantine("notes", "/notes.txt", "not a video", content_hash="hash")
    video = catalog.video("notes")
    assert (video.status, video.error, video.codec) == ("quarantined", "not a video", None)
    assert catalog.add_video(make_info("/notes.txt"), "hash", "notes") == video_id
    video = catalog.video("notes")
    assert (video.status, video.error, video.codec) == ("registered", None, "h264")


def test_status_and_report(empty_store: Store, make_info: MakeInfo) -> None:
    catalog = empty_store.catalog
    video_id = catalog.add_video(make_info("/a.mp4"), "hash", "a")
    catalog.set_status(video_id, "ready", report={"frames": 3})
    catalog.set_status(video_id, "ingesting")
    video = catalog.video(video_id)
    assert (video.status, video.report) == ("ingesting", {"frames": 3})
    with pytest.raises(UsageError, match="nearest: ready"):
        catalog.set_status(video_id, "read")  # type: ignore[arg-type]


def test_gops_are_replaced_as_a_whole(empty_store: Store, make_info: MakeInfo) -> None:
    catalog = empty_store.catalog
    video_id = catalog.add_video(make_info("/a.mp4"), "hash", "a")
    gops = [Gop(i, i * 2.0, i * 2.0 + 2, 60, i * 1000) for i in range(3)]
    catalog.add_gops(video_id, gops)
    catalog.add_gops(video_id, gops[:2])
    assert [(g.index, g.stop_seconds, g.num_packets) for g in catalog.gops(video_id)] == [
        (0, 2.0, 60),
        (1, 4.0, 60),
    ]


def test_a_video_enters_at_once_with_its_gops(empty_store: Store, make_info: MakeInfo) -> None:
    catalog, database = empty_store.catalog, empty_store._database
    gops, info = [Gop(i, i * 2.0, i * 2.0 + 2, 60, i * 1000) for i in range(3)], make_info("/a.mp4")
    before = database.changes
    entered = catalog.enter(info, "hash", "a", gops=gops, status="ingesting")
    assert database.changes == before + 1
    assert entered.fresh
    assert catalog.video("a").status == "ingesting"
    again = catalog.enter(info, "hash", "b", gops=gops[:2], status="ingesting")
    assert (again.video_id, again.fresh) == (entered.video_id, False)
    assert len(catalog.gops(entered.video_id)) == 2
    catalog.set_status(entered.video_id, "ready")
    catalog.enter(info, "hash", "a", status="ingesting")
    assert catalog.video("b").status == "ready"
    assert len(catalog.gops(entered.video_id)) == 2


def test_spaces_lie_side_by_side(empty_store: Store, space: Space) -> None:
    catalog = empty_store.catalog
    other = replace(space, name="other")
    assert catalog.add_space(space).key == space.key
    catalog.add_space(other)
    assert [known.key for known in catalog.spaces()] == [space.key, other.key]
    current = catalog.current_space()
    assert current is not None
    assert current.key == space.key
    catalog.use_space(other.key)
    assert catalog.current_space() == catalog.space(other.key)
    with pytest.raises(NotFoundError, match="unknown space 'tini'"):
        catalog.use_space("tini")


def test_calibration(empty_store: Store, space: Space) -> None:
    catalog = empty_store.catalog
    assert catalog.calibration(space.key, "null") is None
    catalog.set_calibration(space.key, "rates", {"decode": 0.1})
    catalog.set_calibration(space.key, "null", {"mean": 0.2})
    catalog.set_calibration(space.key, "null", {"mean": 0.3})
    assert catalog.calibration(space.key, "null") == {"mean": 0.3}
    assert catalog.calibration(space.key, "rates") == {"decode": 0.1}
    with pytest.raises(UsageError, match="nearest: null"):
        catalog.calibration(space.key, "nul")  # type: ignore[arg-type]


def test_jobs(empty_store: Store) -> None:
    catalog = empty_store.catalog
    job_id = catalog.add_job("ingest", {"path": "/a.mp4"})
    assert catalog.job(job_id).status == "queued"
    catalog.update_job(job_id, status="running", progress={"frames": 1})
    running = catalog.job(job_id)
    assert running.started_at is not None
    assert running.finished_at is None
    catalog.update_job(job_id, status="failed", error="no")
    job = catalog.job(job_id)
    assert (job.request, job.progress, job.error) == ({"path": "/a.mp4"}, {"frames": 1}, "no")
    assert job.finished_at is not None
    assert catalog.jobs("queued") == []
    with pytest.raises(NotFoundError):
        catalog.update_job("none", status="ready")


def test_jobs_of_a_process_that_ended_wait_again(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        queued, running = (store.catalog.add_job("ingest", {}) for _ in range(2))
        store.catalog.update_job(running, status="running")
    with Store.open(tmp_path) as store:
        for job_id in (queued, running):
            assert store.catalog.job(job_id).status == "queued"
            assert store.catalog.job(job_id).error is None


def test_relations_for_sql(store_with_two_videos: Store, space: Space) -> None:
    with store_with_two_videos.catalog._database.cursor() as cursor:
        counted = cursor.execute(
            "SELECT name, count(*) FROM frames JOIN videos USING (video_id)"
            " GROUP BY name ORDER BY name"
        ).fetchall()
    assert counted == [("a", 20), ("b", 20)]
