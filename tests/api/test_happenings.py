"""What a camera shows over several videos is told once: by where it began, whoever asks."""

import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from api.app import create_app
from api.config import ServerSettings
from api.happenings import Happenings
from engine.query import Moment
from engine.session import Engine
from tests.api.conftest import URL, Made
from tests.api.test_videos import ended

BEGIN = datetime(2026, 3, 1, 12)
PARTS = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=12)


@given(PARTS, st.integers(1, 7), st.integers(0, 12))
def test_what_is_cut_anywhere_is_begun_as_often_as_it_is_whole(
    parts: Sequence[tuple[int, int]], length: int, gap: int
) -> None:
    """Moments on a line, some close: cut at the ends of videos, each run of them begins once."""
    spans, at = [], 0
    for pause, seconds in parts:
        spans.append((at + pause, at + pause + seconds))
        at = spans[-1][1]
    far = [one for one, other in zip(spans[1:], spans, strict=False) if one[0] - other[1] > gap]
    known, begun = Happenings(), []
    for start in range(0, at, length):
        inside = [
            Moment(start, "v", max(a, start) - start, min(b, start + length) - start, 0, 0)
            for a, b in spans
            if a < start + length and start < b
        ]
        new = known.begun(inside, BEGIN + timedelta(seconds=start), timedelta(seconds=gap))
        begun += [start + each.start_seconds for each in new]
    assert begun == [spans[0][0], *(start for start, _ in far)]


def bring(server: TestClient, clip: Path, number: int, seconds: float, **said: Any) -> None:
    """Ingest the clip as another file, recorded so long after the beginning."""
    path = clip.with_name(f"{said['camera']}-{number}.mp4")
    shutil.copy(clip, path)
    path.write_bytes(path.read_bytes() + f"{path}".encode())
    said["recorded_at"] = (BEGIN + timedelta(seconds=seconds)).isoformat()
    body = {"path": str(path), "strategy": "dense", "columns": said}
    assert ended(server, server.post("/videos", json=body).json())["status"] == "ready"


def test_an_alert_is_of_what_happens_not_of_each_video(
    own_engine: Engine, made: Made, tmp_path: Path
) -> None:
    clip = Path(shutil.copy(made.clips / "one.mp4", tmp_path))  # four seconds
    settings = ServerSettings(video_roots=str(tmp_path))
    standing = {"name": "shapes", "text": "a shape", "min_score": -1, "where": "camera = 'gate'"}

    def alerts(server: TestClient) -> list[tuple[str, str]]:
        found = server.get("/alerts").json()
        return [(each["video"]["name"], each["camera"]) for each in reversed(found)]

    own_engine.tag("two.mp4", {"camera": "street"})
    with TestClient(create_app(own_engine, settings), base_url=URL) as server:
        assert server.post("/standing", json=standing).json()["gap_seconds"] == 5
        for number in range(3):
            bring(server, clip, number, 4.0 * number, camera="gate")
            bring(server, clip, number, 4.0 * number, camera="yard")  # not asked for
        assert alerts(server) == [("gate-0.mp4", "gate")]
        columns = server.get("/videos/named", params={"name": "gate-0.mp4"}).json()
        assert columns["recorded_at"] == "2026-03-01T12:00:00Z"
        assert columns["recorded_from"] == "given"
    with TestClient(create_app(own_engine, settings), base_url=URL) as server:
        bring(server, clip, 3, 16.0, camera="gate")  # goes on, whoever serves
        assert len(alerts(server)) == 1
        bring(server, clip, 4, 26.0, camera="gate")
        assert alerts(server) == [("gate-0.mp4", "gate"), ("gate-4.mp4", "gate")]


@pytest.mark.parametrize(
    ("columns", "status"),
    [({"name": "x"}, 400), ({"camera": {}}, 422), ({"recorded_at": "soon"}, 400), ("[", 422)],
)
def test_columns_that_cannot_be_are_refused_before_anything_waits(
    own_engine: Engine, made: Made, columns: Any, status: int
) -> None:
    settings = ServerSettings(video_roots=str(made.clips))
    with TestClient(create_app(own_engine, settings), base_url=URL) as server:
        body = {"path": str(made.clips / "one.mp4"), "columns": columns}
        assert server.post("/videos", json=body).status_code == status


def test_an_upload_has_its_columns_in_a_form(own_engine: Engine, made: Made) -> None:
    with TestClient(create_app(own_engine, ServerSettings()), base_url=URL) as server:
        data = (made.clips / "two.mp4").read_bytes() + b"sent"
        form = {"columns": '{"camera": "sent", "kept": true}', "strategy": "dense"}
        sent = server.post("/videos", files={"file": ("sent.mp4", data)}, data=form).json()
        assert ended(server, sent)["status"] == "ready"
        found = server.get("/videos/named", params={"name": "sent.mp4"}).json()
        assert found["columns"] == {"camera": "sent", "kept": True}
