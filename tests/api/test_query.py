"""`POST /query` and `POST /sql`."""

import asyncio
import base64
import csv
import io
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.config import ServerSettings
from api.render import rendered
from engine.session import Engine
from tests.api.conftest import URL, Made
from tests.waiting import LONG, until

ARROW = "application/vnd.apache.arrow.stream"
QUESTION = {"text": "what colour is the circle?", "choices": ["red", "blue", "green"]}


def test_retrieval_gives_moments_best_first(client: TestClient, made: Made) -> None:
    found = client.post("/query", json={"text": made.text, "top_k": 3}).json()
    moments = found["moments"]
    assert 0 < len(moments) <= 3
    scores = [moment["score"] for moment in moments]
    assert scores == sorted(scores, reverse=True)
    for moment in moments:
        assert moment["start_seconds"] <= moment["peak_seconds"] <= moment["stop_seconds"]
        assert client.get(moment["thumbnail_url"]).headers["content-type"] == "image/jpeg"
        assert client.get(moment["clip_url"]).headers["content-type"] == "video/mp4"
    assert found["answer"] is None
    assert found["plan"] is None
    assert found["coverage"]["videos"] == 2
    assert all(seconds >= 0 for seconds in found["timing"].values())


def test_explain_returns_the_plan(client: TestClient) -> None:
    body = {"text": "a red circle", "options": {"explain": True}}
    assert "frames" in client.post("/query", json=body).json()["plan"]


@pytest.mark.parametrize("group_by", ["frame", "moment", "video"])
def test_group_by(client: TestClient, group_by: str) -> None:
    found = client.post("/query", json={"text": "a star", "group_by": group_by}).json()["moments"]
    names = [moment["name"] for moment in found]
    assert found
    if group_by == "video":
        assert sorted(names) == ["one.mp4", "two.mp4"]


@pytest.mark.parametrize("videos", [[1], ["one.mp4"], ["o*"]])
def test_only_the_videos_asked_for(client: TestClient, engine: Engine, videos: list[Any]) -> None:
    name = engine.store.catalog.video(1).name if videos == [1] else "one.mp4"
    found = client.post("/query", json={"text": "a star", "videos": videos}).json()["moments"]
    assert {moment["name"] for moment in found} == {name}


def test_min_score_leaves_out_the_rest(client: TestClient) -> None:
    assert client.post("/query", json={"text": "a star", "min_score": 1}).json()["moments"] == []


@pytest.mark.parametrize("mode", ["qa", "grounded_qa"])
def test_answers(client: TestClient, mode: str) -> None:
    answer = client.post("/query", json={**QUESTION, "mode": mode}).json()["answer"]
    assert answer["text"] in QUESTION["choices"]
    assert QUESTION["choices"][answer["choice"]] == answer["text"]
    assert sum(answer["scores"].values()) == pytest.approx(1, abs=1e-3)
    assert bool(answer["evidence"]) == (mode == "grounded_qa")


def test_sql_as_json(client: TestClient) -> None:
    body = {"sql": "SELECT name, fps FROM videos ORDER BY name LIMIT $most", "params": {"most": 1}}
    found = client.post("/sql", json=body).json()
    assert [column["name"] for column in found["columns"]] == ["name", "fps"]
    assert found["rows"][0]["name"] == "one.mp4"
    assert found["timing"]["seconds"] >= 0


def test_sql_as_csv_and_arrow(client: TestClient) -> None:
    body = {
        "sql": "SELECT frame, CLIP_MATCH(frame, ?) AS score FROM frames ORDER BY score DESC",
        "params": ["a star"],
    }
    text = client.post("/sql", json=body, headers={"Accept": "text/csv"})
    assert text.headers["content-type"].startswith("text/csv")
    listed = list(csv.reader(io.StringIO(text.text)))
    stream = client.post("/sql", json=body, headers={"Accept": ARROW})
    assert stream.headers["content-type"] == ARROW
    table = pa.ipc.open_stream(stream.content).read_all()
    assert listed[0] == table.column_names == ["frame", "score"]
    assert [float(row[1]) for row in listed[1:]] == pytest.approx(table["score"].to_pylist())


def test_sql_has_no_word_for_infinity_in_json(client: TestClient) -> None:
    sql = "SELECT 'nan'::DOUBLE AS a, ['inf'::DOUBLE, 1.0] AS b, {'c': '-inf'::FLOAT} AS s"
    text = client.post("/sql", json={"sql": sql}).text
    row = json.loads(text, parse_constant=pytest.fail)["rows"][0]
    assert row == {"a": None, "b": [None, 1.0], "s": {"c": None}}


def test_sql_options_beside_the_statement(client: TestClient) -> None:
    body = {
        "sql": "SELECT count(*) AS n FROM frames WHERE CLIP_MATCH(frame, 'a star') > -1 -- all",
        "options": {"exact": True, "strategy": "dense"},
    }
    assert client.post("/sql", json=body).json()["rows"][0]["n"] > 0
    wrong = client.post("/sql", json={**body, "options": {"exakt": True}})
    assert wrong.status_code == 400
    assert "nearest: exact" in wrong.json()["detail"]
    assert client.post("/sql", json={**body, "options": {"x) --": 1}}).status_code == 400


def test_a_statement_that_fails_has_a_caret(client: TestClient) -> None:
    answer = client.post("/sql", json={"sql": "SELECT nam FROM videos"})
    body = answer.json()
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["status"] == 400
    line, caret = body["caret"].split("\n")
    assert line[caret.index("^") :].startswith("nam ")
    assert "\n" not in body["detail"]


@pytest.mark.parametrize("sql", ["DROP TABLE videos", "SELECT * FROM read_csv('/etc/passwd')"])
def test_statements_reach_nothing_else(client: TestClient, sql: str) -> None:
    assert client.post("/sql", json={"sql": sql}).status_code == 400


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({}, ""),
        ({"text": ""}, "text"),
        ({"text": "a", "top_k": 0}, "top_k"),
        ({"text": "a", "topk": 3}, "topk"),
        ({"text": "a", "group_by": "scene"}, "group_by"),
        ({"text": "a", "choices": ["a", "b"]}, ""),
        ({"text": "a", "mode": "qa", "choices": ["a"]}, "choices"),
        ({"text": "a", "min_score": 2}, "min_score"),
        ({"text": "a", "options": {"exakt": True}}, "options.exakt"),
    ],
)
def test_what_is_not_valid_says_where(client: TestClient, body: dict[str, Any], at: str) -> None:
    answer = client.post("/query", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["at"] == at


def test_no_json_and_no_such_video(client: TestClient) -> None:
    headers = {"Content-Type": "application/json"}
    assert client.post("/query", content=b"{", headers=headers).status_code == 422
    missing = client.post("/query", json={"text": "a", "videos": ["three.mp4"]})
    assert missing.status_code == 404
    assert "three.mp4" in missing.json()["detail"]


def test_as_many_queries_as_allowed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go = threading.Event(), threading.Event()
    query = engine.query

    def slow(*arguments: Any, **named: Any) -> Any:
        entered.set()
        assert go.wait(LONG)
        return query(*arguments, **named)

    monkeypatch.setattr(engine, "query", slow)
    settings = ServerSettings(max_queries=1, query_wait_seconds=0.05)
    with TestClient(create_app(engine, settings), base_url=URL) as client:
        answers = []
        first = threading.Thread(
            target=lambda: answers.append(client.post("/query", json={"text": "a star"}))
        )
        first.start()
        assert entered.wait(LONG)
        refused = client.post("/sql", json={"sql": "SELECT 1 AS one"})
        go.set()
        first.join(LONG)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert answers[0].status_code == 200
        assert client.post("/sql", json={"sql": "SELECT 1 AS one"}).status_code == 200


def test_a_query_past_its_time_keeps_its_place(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    monkeypatch.setattr(engine, "query", lambda *_, **__: go.wait(LONG))
    settings = ServerSettings(max_queries=1, query_wait_seconds=0.05, query_seconds=0.1)
    with TestClient(create_app(engine, settings), base_url=URL) as client:
        late = client.post("/query", json={"text": "a star"})
        assert late.status_code == 503
        assert "0.1 seconds" in late.json()["detail"]
        assert client.post("/sql", json={"sql": "SELECT 1"}).status_code == 503
        go.set()
        until(lambda: client.post("/sql", json={"sql": "SELECT 1 AS one"}).status_code == 200)


def test_many_rows_hold_up_nobody(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are rendered in small parts, and not by the thread that answers all others."""
    sizes, begun, met = list[int](), threading.Event(), threading.Event()

    def slowly(*given: Any) -> Iterator[bytes]:
        for part in rendered(*given):
            sizes.append(len(part))
            begun.set()
            assert met.wait(LONG)
            yield part

    async def ask() -> tuple[int, int]:
        transport = httpx.ASGITransport(create_app(engine, ServerSettings()))
        async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
            body = {"sql": "SELECT range AS a, range::TEXT AS b FROM range(20000)"}
            rows = asyncio.create_task(client.post("/sql", json=body))
            assert await asyncio.to_thread(begun.wait, LONG)
            other = await client.get("/livez")  # is never answered where the loop renders
            met.set()
            return other.status_code, len((await rows).json()["rows"])

    monkeypatch.setattr("api.routes.query.rendered", slowly)
    assert asyncio.run(ask()) == (200, 20_000)
    assert max(sizes) < 1 << 17


def test_a_picture_is_found_where_it_was_taken(client: TestClient) -> None:
    picture = client.get("/videos/2/frames/1.0.jpg?width=96").content
    body = {"image": base64.b64encode(picture).decode(), "top_k": 1, "group_by": "frame"}
    (found,) = client.post("/query", json=body).json()["moments"]
    assert found["video_id"] == 2
    assert found["score"] > 0.9


@pytest.mark.parametrize(
    "body",
    [
        {}, {"text": "a star", "image": "AAAA"}, {"image": "A"},
        {"image": "AAAA", "mode": "qa"}, {"image": "AAAA", "mix": {"a star": 1.0}},
    ],
)  # fmt: skip
def test_one_thing_is_looked_for(client: TestClient, body: dict[str, Any]) -> None:
    assert client.post("/query", json=body).status_code == 422


def test_a_picture_that_is_none(client: TestClient) -> None:
    assert client.post("/query", json={"image": "AAAA"}).status_code == 400


def test_a_curve_peaks_where_the_moment_does(client: TestClient, made: Made) -> None:
    best = client.post("/query", json={"text": made.text, "top_k": 1}).json()["moments"][0]
    url = f"/videos/{best['video_id']}/curve"
    curve = client.get(url, params={"text": made.text}).json()
    assert curve["seconds"] == sorted(curve["seconds"])
    peak = curve["scores"].index(max(curve["scores"]))
    assert curve["seconds"][peak] == best["peak_seconds"]
    assert curve["scores"][peak] == pytest.approx(best["score"], abs=1e-5)
    few = client.get(url, params={"text": made.text, "points": 2}).json()
    assert len(few["scores"]) == 2
    assert max(few["scores"]) == max(curve["scores"])
    assert client.get("/videos/7/curve?text=a").status_code == 404
    assert client.get(url).status_code == 422
