"""What a query has embedded: exactly what it needs, within its budgets."""

import shutil
from dataclasses import replace
from threading import local

import pytest

from engine.cage.ending import Ending
from engine.ingest import IngestOptions, ensure, ingest, register
from engine.search.context import Range
from engine.session import Engine
from engine.storage.store import Store
from engine.vision.registry import build_strategy

DENSE = IngestOptions(strategy="dense")


def test_queries_embed_exactly_the_groups_they_need(store, model, clips, stored, tmp_path) -> None:
    [video] = register(store, [clips / "long.mp4"]).videos
    assert (video.outcome, video.rows) == ("known", 0)
    assert store.catalog.video(video.video_id).status == "registered"
    gops = store.catalog.gops(video.video_id)
    wanted = Range(video.video_id, gops[3].start_seconds, gops[3].stop_seconds)
    embedded = ensure(store, model, [wanted], DENSE)
    assert (embedded.videos, embedded.gops, embedded.frames) == (1, 1, 8)
    assert (embedded.full, embedded.complete) == (8, True)
    seconds = store.rows(model.space.key).column("seconds").to_numpy()
    assert seconds.min() == wanted.start_seconds
    assert seconds.max() < wanted.stop_seconds
    assert ensure(store, model, [wanted], DENSE).frames == 0
    report = ingest(store, model, [clips / "long.mp4"], DENSE)
    assert (report.frames, report.rows) == (192, 200)
    with Store.open(tmp_path / "undisturbed") as other:
        ingest(other, model, [clips / "long.mp4"], DENSE)
        assert stored(store, model.space.key) == stored(other, model.space.key)
    assert store.verify() == []


def test_all_groups_one_by_one_finish_the_video(store, model, clips) -> None:
    [video] = register(store, [clips / "middle.mp4"]).videos
    for gop in store.catalog.gops(video.video_id):
        part = Range(video.video_id, gop.start_seconds, gop.stop_seconds)
        ensure(store, model, [part], IngestOptions(fps=5, strategy="dense"))
    assert store.catalog.video(video.video_id).status == "ready"
    assert len(store.rows(model.space.key)) == 40  # the clip has four frames per second
    assert store.verify() == []


def test_a_budget_ends_embedding(store, model, clips) -> None:
    [video] = register(store, [clips / "long.mp4"]).videos
    options = IngestOptions(strategy="dense", streams=1, workers=1)
    embedded = ensure(store, model, [Range(video.video_id, 0, 100)], options, 0.0)
    assert (embedded.frames, embedded.complete, embedded.budget) == (0, False, True)
    assert len(store.rows(model.space.key)) == 0
    again = ensure(store, model, [Range(video.video_id, 0, 100)], options, 1000.0)
    assert (again.frames, again.complete, again.budget) == (200, True, False)


def test_times_are_those_of_the_clock_that_is_given(store, model, clips) -> None:
    own = local()

    def clock() -> float:  # a second passes whenever a thread looks
        own.now = getattr(own, "now", 0.0) + 1
        return own.now

    [video] = register(store, [clips / "long.mp4"]).videos
    options = replace(DENSE, clock=clock)
    done = ensure(store, model, [Range(video.video_id, 0, 100)], options)
    stretches = store.catalog.stretches(video.video_id, model.space.key)
    assert done.decode_seconds == len(stretches) > 1
    assert done.encode_seconds == int(done.encode_seconds) >= 2


def test_a_budget_ends_within_a_stretch_and_stores_no_half(
    store, model, clips, monkeypatch
) -> None:
    now = 0.0  # each frame that is encoded takes a second
    dense = type(build_strategy("dense", model.tower))
    encode = dense.encode

    def slowly(self, chunks):
        nonlocal now
        now += sum(len(chunk.pixels) for chunk in chunks)
        return encode(self, chunks)

    monkeypatch.setattr(dense, "encode", slowly)
    monkeypatch.setattr("engine.ingesting.interrupt.monotonic", lambda: now)
    [video] = register(store, [clips / "long.mp4"]).videos
    embedded = ensure(store, model, [Range(video.video_id, 0, 100)], DENSE, 100.0)
    stretches = store.catalog.stretches(video.video_id, model.space.key)
    assert not embedded.complete
    assert embedded.frames == len(store.rows(model.space.key)) > 0
    assert sum(part.num_frames for part in stretches) == embedded.frames
    assert len(stretches) == 1
    assert now <= 100 + 8
    assert {problem.kind for problem in store.verify()} == {"incomplete"}


def test_embedding_ends_where_nobody_waits_for_it(store, model, clips, monkeypatch) -> None:
    ending, dense = Ending(), type(build_strategy("dense", model.tower))
    encode = dense.encode

    def leaving(self, chunks):
        ending.end()
        return encode(self, chunks)

    monkeypatch.setattr(dense, "encode", leaving)
    [video] = register(store, [clips / "long.mp4"]).videos
    asked = (store, model, [Range(video.video_id, 0, 100)], replace(DENSE, streams=1, workers=1))
    embedded = ending.run(lambda: ensure(*asked))
    assert 0 < embedded.frames == len(store.rows(model.space.key)) < 200
    assert not embedded.complete
    assert {problem.kind for problem in store.verify()} == {"incomplete"}  # no half of a stretch
    again = ensure(*asked)
    assert (again.frames, again.complete) == (200 - embedded.frames, True)


@pytest.mark.parametrize("most", [0, 1, 39, 40, 45, 199, 200, 300])
def test_a_budget_of_frames_holds(store, model, clips, most) -> None:
    [video] = register(store, [clips / "long.mp4"]).videos
    asked = (store, model, [Range(video.video_id, 0, 100)], DENSE, None, None)
    embedded = ensure(*asked, most)
    rows = len(store.rows(model.space.key))
    assert rows == embedded.frames <= most
    assert embedded.complete == (most >= 200)
    assert embedded.budget != embedded.complete
    if most < 200:  # and not one group of pictures more would have fitted
        gops = store.catalog.gops(video.video_id)
        after = next(g for g in gops if g.start_seconds * 2 >= rows - 1e-6)
        assert rows + 2 * (after.stop_seconds - after.start_seconds) > most
    again = ensure(*asked, None)
    assert (again.frames, again.complete) == (200 - rows, True)
    assert len(store.rows(model.space.key)) == 200
    assert store.verify() == []


def test_a_file_that_has_gone_leaves_the_answer_incomplete(store, model, clips, tmp_path) -> None:
    path = tmp_path / "clip.mp4"
    shutil.copy(clips / "short.mp4", path)
    [video] = register(store, [path]).videos
    path.unlink()
    embedded = ensure(store, model, [Range(video.video_id, 0, 2)], DENSE)
    assert (embedded.frames, embedded.complete, embedded.budget) == (0, False, False)


def test_a_find_names_what_could_not_be_read(clips, tmp_path) -> None:
    for name in ("stays.mp4", "goes.mp4", "grows.mp4"):
        shutil.copy(clips / "short.mp4", tmp_path / name)
        with (tmp_path / name).open("ab") as file:
            file.write(name.encode())  # the same content is one video
    with Engine.open(tmp_path / "store", device="cpu") as engine:
        engine.register(tmp_path)
        (tmp_path / "goes.mp4").unlink()
        with (tmp_path / "grows.mp4").open("ab") as file:
            file.write(b"more")
        covered = engine.query("a dog").coverage
        assert (covered.complete, covered.num_lacking) == (False, 2)
        gone, changed = sorted(covered.lacking)
        assert gone.startswith("goes.mp4: ")
        assert changed == "grows.mp4: grows.mp4 has changed since it was ingested"
        one = engine.query("a dog", videos=["stays.mp4"]).coverage
        assert (one.complete, one.lacking) == (True, [])
