"""What nobody waits for any more ends: also embedding, questions, clips and exact rows."""

from pathlib import Path

import numpy as np
import pytest

from engine.acting import StoredActions
from engine.cage.ending import Ending, check_awaited
from engine.cage.sandbox import Sandbox
from engine.detecting import StoredDetections
from engine.errors import LimitError
from engine.evaluation.bench.clips import write_moving
from engine.operators.base import Reply
from engine.session import Engine
from engine.sql import run_sql
from tests.asking import Videos
from tests.detections import random_yolos
from tests.oracle.world import World

ASKED = "SELECT name, VIDEO_QA(video_id, 'what?').answer AS a FROM videos"


def test_without_an_ending_all_is_awaited() -> None:
    check_awaited()
    ending = Ending()
    ending.run(check_awaited)
    ending.end()
    with pytest.raises(LimitError, match="nobody waits"):
        ending.run(check_awaited)
    check_awaited()


def test_no_further_video_is_asked(shared_videos: Videos, sandbox: Sandbox) -> None:
    ending, asked = Ending(), list[int]()
    context = shared_videos.context(sandbox)

    def respond(video: int, *_: object) -> Reply:
        asked.append(video)
        ending.end()
        return Reply("x", 0.5, 0.0, 1.0)

    context.respond = respond
    with pytest.raises(LimitError, match="nobody waits"):
        ending.run(lambda: run_sql(context, ASKED, max_rows=9))
    assert asked == [1]


def test_no_further_row_is_made_exact(tmp_path: Path) -> None:
    world, ending = World(tmp_path / "data", approximate=True), Ending()
    try:
        context = world.context()
        redecode = context.redecode
        assert redecode is not None
        made: list[int] = []

        def slowly(video: int, frames: object) -> object:
            made.append(video)
            ending.end()
            return redecode(video, frames)  # type: ignore[arg-type]

        context.redecode = slowly  # type: ignore[assignment]
        sql = "SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames OPTIONS (exact = true)"
        with pytest.raises(LimitError, match="nobody waits"):
            ending.run(lambda: run_sql(context, sql, max_rows=99))
        exact = np.asarray(world.store.rows(context.space).column("exact"))
        assert 0 < exact.sum() < len(exact)  # those that were begun are kept
        assert run_sql(world.context(), sql, max_rows=99).coverage.exact
    finally:
        world.close()


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips in each of which several groups of pictures lie, and a detector."""
    folder = tmp_path_factory.mktemp("footage")
    for number in range(3):
        write_moving(folder / "clips" / f"{number}.mp4", 6, size=(48, 64), fps=12, seed=number)
    random_yolos(folder / "model", ("ball", "cup", "star"))
    return folder


SLOW: dict[str, tuple[str, type, str]] = {
    "clips": ("SELECT ACTION(clip) AS a FROM clips", StoredActions, "_make"),
    "frames": ("SELECT * FROM detections", StoredDetections, "_store_part"),
}


@pytest.mark.parametrize("what", SLOW)
def test_nothing_further_is_looked_at(
    what: str, footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql, kind, name = SLOW[what]
    ending, calls, whole = Ending(), list[object](), getattr(kind, name)

    def noting(self: object, *given: object) -> object:
        calls.append(given)
        ending.end()
        return whole(self, *given)

    model = str(footage / "model")
    with Engine.open(tmp_path / "data", device="cpu", detector_model=model) as engine:
        engine.register(footage / "clips")
        monkeypatch.setattr(kind, name, noting)
        with pytest.raises(LimitError, match="nobody waits"):
            ending.run(lambda: engine.sql(sql))
        assert len(calls) == 1
        assert engine.store.verify() == []  # what was begun is whole
        monkeypatch.setattr(kind, name, whole)
        assert engine.sql(sql).coverage.complete
