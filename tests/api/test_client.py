"""One set of calls against an engine and against a server on the same folder: equal answers."""

import io
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import uvicorn
from PIL import Image

from api.app import create_app
from api.config import ServerSettings
from engine import (
    AnyEngine,
    Client,
    Engine,
    EngineError,
    LimitError,
    NotFoundError,
    QueryError,
    UsageError,
)
from engine.caller import for_one_who
from engine.results import Step
from engine.search.options import Options
from engine.video.gop import index_gops
from schemas.explain import ExplainOut
from schemas.query import QueryOptions
from tests.waiting import LONG, until


@pytest.fixture(scope="module")
def url(engine: Engine) -> Iterator[str]:
    """A real server in a thread, on a port that is free."""
    settings = ServerSettings(api_keys="write:conformance,read:looks")
    server = uvicorn.Server(uvicorn.Config(create_app(engine, settings), port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(LONG)
    assert not thread.is_alive()


@pytest.fixture(params=["engine", "client"])
def either(request: pytest.FixtureRequest, engine: Engine, url: str) -> AnyEngine:
    """The engine, then the client."""
    return engine if request.param == "engine" else Client(url, "conformance")


def test_both_keep_the_protocol(either: AnyEngine) -> None:
    assert isinstance(either, AnyEngine)


def test_a_query_gives_the_same(either: AnyEngine, engine: Engine) -> None:
    found = either.query("a red star", 3, videos=["*.mp4"], min_score=-1.0, exact=False)
    expected = engine.query("a red star", 3, videos=["*.mp4"], min_score=-1.0, exact=False)
    assert found.moments == expected.moments
    assert len(found.moments) > 0
    assert found.coverage == expected.coverage
    assert found.plan == expected.plan


def test_an_answer_is_the_same(either: AnyEngine, engine: Engine) -> None:
    asked = ("what colour is it?", ["red", "blue"], [1])
    found = either.ask(*asked)
    assert replace(found, session=None) == replace(engine.ask(*asked), session=None)
    steps: list[Step] = []
    told = either.ask(*asked, follow=steps.append)
    assert replace(told, session=found.session) == found
    assert steps == [either.foresee(*asked), *found.claims]
    assert found.session != told.session
    again = either.ask("what shape is it?", session=found.session)
    assert again.session == found.session
    assert {moment.video_id for moment in again.evidence} <= {1}
    with pytest.raises(NotFoundError, match="no session 'none'"):
        either.ask(*asked, session="none", follow=steps.append)


def test_a_statement_gives_the_same(either: AnyEngine) -> None:
    sql = "SELECT name, video_id FROM videos WHERE video_id >= $least ORDER BY name"
    assert either.sql(sql, least=2).rows() == [{"name": "two.mp4", "video_id": 2}]
    assert either.sql("SELECT ? AS a, ? AS b", 1, "x").rows() == [{"a": 1, "b": "x"}]
    best = "SELECT frame FROM frames ORDER BY CLIP_MATCH(frame, 'a ring') DESC LIMIT 2"
    found = either.sql(best, options={"exact": False})
    assert found.arrow().num_rows == 2
    assert found.coverage.complete
    assert "Search best 2 by" in either.explain(best, options={"exact": False})
    assert "index: " in either.explain(best, analyze=True)


def test_what_is_stored_is_the_same(either: AnyEngine, engine: Engine) -> None:
    def told(videos: list[object]) -> list[object]:
        return [replace(video, path="") for video in videos]  # type: ignore[type-var]

    assert told(either.videos()) == told(engine.videos())
    assert [video.name for video in either.videos("t*.mp4")] == ["two.mp4"]
    assert told([either.video("two.mp4")]) == told([either.video(2)]) == told([engine.video(2)])
    assert [job.job_id for job in either.jobs()] == [job.job_id for job in engine.jobs()]


def test_what_is_stored_comes_in_pages(either: AnyEngine, engine: Engine) -> None:
    ids = [video.video_id for video in engine.videos()]
    assert [video.video_id for video in either.videos(limit=1)] == ids[:1]
    assert [video.video_id for video in either.videos(after=ids[0])] == ids[1:]
    assert either.videos(after=ids[-1]) == either.videos(limit=0) == []
    with pytest.raises(UsageError, match="limit -1; allowed: 0 or more"):
        either.videos(limit=-1)
    jobs = [engine.job_records.add_job("none", {}) for _ in range(3)]
    for job in jobs:
        engine.cancel(job)
    newest = [job.job_id for job in engine.jobs()]
    assert [job.job_id for job in either.jobs(limit=2)] == newest[:2]
    cancelled = [job.job_id for job in engine.jobs("cancelled")]
    assert cancelled[:3] == newest[:3]
    assert [job.job_id for job in either.jobs("cancelled", after=newest[0])] == cancelled[1:]
    assert either.jobs(after=newest[-1]) == either.jobs(limit=0) == []
    with pytest.raises(UsageError, match="limit -1; allowed: 0 or more"):
        either.jobs(limit=-1)
    with pytest.raises(NotFoundError, match="no job 'x'"):
        either.jobs(after="x")


def test_a_frame_and_a_clip_are_the_same(either: AnyEngine, engine: Engine, tmp_path: Path) -> None:
    frame = either.frame("one.mp4", 1.0, width=60)
    assert frame == engine.frame("one.mp4", 1.0, width=60)
    assert Image.open(io.BytesIO(frame)).width == 60
    cut = either.clip("one.mp4", 1.0, 2.0, tmp_path / "cut.mp4")
    assert index_gops(cut)[-1].stop_seconds == pytest.approx(1.0, abs=0.1)


def test_errors_are_the_same(either: AnyEngine, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no video 'three"):
        either.query("a star", videos=["three.mp4"])
    with pytest.raises(NotFoundError, match="no video"):
        either.video("three.mp4")
    with pytest.raises(NotFoundError, match="no video"):
        either.remove(99)
    with pytest.raises(NotFoundError, match="no job 'x'"):
        either.job("x")
    with pytest.raises(NotFoundError, match="no job 'x'"):
        either.cancel("x")
    with pytest.raises(UsageError, match="top_k"):
        either.query("a star", 0)
    with pytest.raises(QueryError) as caught:
        either.sql("SELECT nam FROM videos")
    assert caught.value.caret().startswith("SELECT nam FROM videos\n")
    with pytest.raises(UsageError, match="option"):
        either.sql("SELECT 1", options={"exat": True})
    with pytest.raises(UsageError, match="the video is 0 to"):
        either.clip("one.mp4", 50.0, 51.0, tmp_path / "none.mp4")
    assert not (tmp_path / "none.mp4").exists()


WRONG: dict[str, Callable[[AnyEngine], object]] = {
    "parse": lambda e: e.sql("SELECT FROM WHERE"),
    "no select": lambda e: e.sql("DROP TABLE videos"),
    "bind": lambda e: e.sql("SELECT nam FROM videos"),
    "data": lambda e: e.sql("SELECT CAST(name AS INT) FROM videos"),
    "parameter": lambda e: e.sql("SELECT $a", b=1),
    "explain": lambda e: e.explain("SELECT nam FROM videos"),
    "where": lambda e: e.videos(where="nam = 1"),
    "asked where": lambda e: e.query("a star", where="nam = 1"),
    "near name": lambda e: e.video("ones.mp4"),
    "no name": lambda e: e.video("a/b?c#d &é"),
    "letters": lambda e: e.query("a star", videos="one*"),
    "letters of a question": lambda e: e.ask("what?", ["a", "b"], videos="one*"),
    "job": lambda e: e.job("../videos/1"),
    "spaced job": lambda e: e.job("a b?c#d"),
    "no job": lambda e: e.cancel(""),
    "nowhere": lambda e: e.clip("one.mp4", 1.0, 2.0, "no-folder/x.mp4"),
    "a folder": lambda e: e.clip("one.mp4", 1.0, 2.0, "/"),
    "options": lambda e: e.sql("SELECT 1", options={"exat": True}),
    "column": lambda e: e.drop_column("camera"),
    "frame": lambda e: e.frame("ones.mp4", 1.0),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_an_error_has_the_same_class_and_text(engine: Engine, url: str, wrong: str) -> None:
    raised = []
    for each in (engine, Client(url, "conformance")):
        with pytest.raises(EngineError) as caught:
            WRONG[wrong](each)
        raised.append(caught.value)
    local, remote = raised
    assert (type(remote), str(remote)) == (type(local), str(local))
    if isinstance(local, QueryError) and "where" not in wrong:
        assert isinstance(remote, QueryError)
        assert remote.position == local.position
        assert remote.caret() == local.caret()


def test_a_value_that_is_not_allowed_is_so_in_both(either: AnyEngine) -> None:
    for given, said in (
        ({"top_k": 0}, "top_k is 0; allowed: "),
        ({"group_by": "momnt"}, "unknown group_by 'momnt'; allowed: .*; nearest: moment"),
        ({"min_score": 2.0}, "min_score is 2.0; allowed: "),
        ({"exat": True}, "'exat'; allowed: .*; nearest: exact"),
    ):
        with pytest.raises(UsageError, match=said):
            either.query("a star", **given)  # type: ignore[arg-type]


def test_a_query_takes_every_option_in_both(either: AnyEngine) -> None:
    given = {
        "fps": 2.0, "strategy": "dense", "max_drift": "none", "exact": True, "refine_frames": 5,
        "refine_seconds": 1.0, "deepen_gops": 2, "budget_seconds": 90.0, "budget_frames": 5,
        "embed_seconds": 90.0, "false_match_rate": 0.05, "gap_seconds": 0.5,
    }  # fmt: skip
    names = {field.name for field in fields(Options)}
    assert set(given) == names == set(QueryOptions.model_fields) - {"explain"}
    assert either.query("a star", min_score=-1.0, **given).moments  # type: ignore[arg-type]


def test_a_full_server_is_a_limit() -> None:
    """What is refused for want of room is told apart from what is wrong."""
    answer = b'{"detail": "4 queries are running", "kind": "LimitError", "limit": "busy"}'

    class Full(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Full) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(LimitError, match="4 queries are running") as caught:
            Client(f"http://127.0.0.1:{server.server_port}").columns()
        thread.join(LONG)
    assert caught.value.kind == "busy"


def test_who_may_only_read_is_told_no_paths(engine: Engine, url: str) -> None:
    folder = str(Path(engine.video(1).path).parent)
    told = {}
    for key in ("conformance", "looks"):
        client = Client(url, key)
        video = client.video("one.mp4")
        assert video.path == ""
        told[key] = f"{video.report} {client.sql('SELECT * FROM videos').rows()}"
    assert folder in told["conformance"]
    assert folder not in told["looks"]


def test_what_a_server_cannot_be_asked_is_said(url: str) -> None:
    client = Client(url, "conformance")
    with pytest.raises(UsageError, match="images need an engine"):
        client.query(b"an image")
    with pytest.raises(UsageError, match="what JSON has words for"):
        client.sql("SELECT $image", image=b"x")
    with pytest.raises(UsageError, match="positional values or named ones"):
        client.sql("SELECT ?, $a", 1, a=2)
    with pytest.raises(UsageError, match="cannot be called options"):
        client.call("POST", "/sql", {"sql": "SELECT $options", "params": {"options": 1}})
    with pytest.raises(UsageError, match="asks for a key"):
        Client(url).videos()


def test_results_are_json_and_hold_no_connection(url: str) -> None:
    with Client(url, "conformance") as client:
        json.dumps(client.sql("SELECT name FROM videos").rows())


def test_columns_are_the_same(either: AnyEngine, engine: Engine) -> None:
    when = datetime(2026, 3, 1, 12, 30, 1, 500_000)
    try:
        told = either.tag(
            ["*.mp4"],
            {"camera": "north", "lanes": 2, "kept": True, "seen": when},
            {"lanes": "number"},
        )
        assert [video.columns for video in told] == [
            {"camera": "north", "kept": True, "lanes": 2.0, "seen": when}
        ] * len(told)
        assert either.tag(1, {"recorded_at": when, "camera": None})[0].recorded_at == when
        assert either.video(1) == replace(engine.video(1), path=either.video(1).path)
        assert either.columns() == {
            "camera": "text", "kept": "bool", "lanes": "number", "seen": "timestamp",
        }  # fmt: skip
        assert [v.video_id for v in either.videos(where="camera = 'north'")] == [2]
        assert [v.video_id for v in either.videos("*", where="kept", limit=1)] == [1]
        found = either.query("a red star", 9, where="camera IS NULL", min_score=-1.0)
        assert {moment.video_id for moment in found.moments} == {1}
        assert either.query("a red star", where="camera = 'x'").moments == []
        assert either.query("a red star", videos=[1], where="camera = 'north'").moments == []
        looks = either.foresee("what?", ["a", "b"], where="camera = 'north'")
        assert {moment.video_id for moment in looks.moments} == {2}
        rows = either.sql("SELECT camera, seen, recorded_at FROM videos ORDER BY video_id").rows()
        assert rows[0] == {"camera": None, "seen": when, "recorded_at": when}
        with pytest.raises(UsageError, match="column lanes holds finite numbers, got 'x'"):
            either.tag(1, {"lanes": "x"})
        with pytest.raises(QueryError, match="nearest: camera"):
            either.videos(where="camra = 'north'")
        with pytest.raises(NotFoundError):
            either.tag("nothing*", {"camera": "x"})
    finally:
        engine.tag(1, {"recorded_at": None})
        for name in engine.columns():
            either.drop_column(name)
    assert engine.columns() == {}
    with pytest.raises(NotFoundError, match="unknown column 'camera'"):
        either.drop_column("camera")


def test_views_are_the_same(either: AnyEngine, engine: Engine) -> None:
    assert either.sql(
        "CREATE VIEW short AS SELECT * FROM videos WHERE duration_seconds < 1e9"
    ).rows()
    assert len(either.sql("SELECT name FROM short").rows()) == 2
    assert either.sql("SHOW VIEWS").rows() == engine.sql("SHOW VIEWS").rows()
    assert either.sql("DESCRIBE short").rows() == engine.sql("DESCRIBE short").rows()
    with for_one_who(sees_folders=True, may_change=False):
        assert len(either.sql("SELECT name FROM short").rows()) == 2
        with pytest.raises(
            (QueryError, UsageError), match="only SELECT is accepted of who may only read"
        ):
            either.sql("DROP VIEW short")
    either.sql("DROP VIEW short")
    assert engine.sql("SHOW VIEWS").rows() == []


def test_a_plan_is_the_same(either: AnyEngine, engine: Engine) -> None:
    sql = (
        "SELECT seconds FROM frames WHERE seconds < ? ORDER BY CLIP_MATCH(frame, 'a') DESC LIMIT 2"
    )
    told, expected = (each.explain(sql, 2.0, form="json") for each in (either, engine))
    assert (
        ExplainOut.model_validate_json(told).plan == ExplainOut.model_validate_json(expected).plan
    )
    assert either.explain(sql, 2.0) == engine.explain(sql, 2.0)
    if isinstance(either, Client):
        asked = {"sql": sql, "params": [2.0], "analyze": True}
        ran = ExplainOut.model_validate(either.call("POST", "/explain", asked))
        assert ran.plan.actual is not None
        assert ran.plan.actual.rows == 2


def test_what_is_said_is_the_same(either: AnyEngine, engine: Engine, tmp_path: Path) -> None:
    assert isinstance(either, (Client, Engine))
    file = tmp_path / "said.en.srt"
    file.write_text("1\n00:00:00,000 --> 00:00:01,000\na yodelling parrot\n")
    name = engine.video(1).name
    taken = either.add_transcript(name, file)
    assert (taken.source, taken.lines, taken.language, taken.fresh) == (
        *(file.name, 1, "en", True),
    )
    (listed,) = either.transcripts([name])
    assert replace(listed, path="") == replace(engine.transcripts()[0], path="")
    assert list(either.scan_transcripts([name])) == [(name, [])]
    with pytest.raises(NotFoundError, match="no stored video's name"):
        either.transcripts(["none*"])
    with pytest.raises(NotFoundError, match="no file"):
        either.add_transcript(name, tmp_path / "gone.srt")
    with pytest.raises(NotFoundError, match="'else'"):
        either.remove_transcript(name, "else")
    assert either.remove_transcript(name, file.name) == 1
    assert either.transcripts() == engine.transcripts() == []
