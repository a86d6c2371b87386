"""Statements that are too large or too deep are refused at once, whatever nests in them."""

import threading
from contextlib import suppress
from time import process_time

import pytest

from engine.cage.sandbox import Sandbox
from engine.errors import ParseError, QueryError
from engine.planner.bounds import MOST_NESTED
from engine.planner.prepare import prepare
from engine.sql import run_sql
from tests.asking import Videos
from tests.waiting import LONG

DEEP = {
    "brackets": "SELECT {}1{}".format("(" * 400, ")" * 400),
    "lists": "SELECT {}1{}".format("[" * 400, "]" * 400),
    "subqueries": "{}SELECT 1{}".format("SELECT * FROM (" * 200, ")" * 200),
    "not": "SELECT " + "NOT " * 4000 + "TRUE",
    "minus": "SELECT " + "- " * 4000 + "1",
    "case": "SELECT " + "CASE WHEN TRUE THEN " * 4000 + "1" + " END" * 4000,
    "plus": "SELECT 1" + " + 1" * 12_000,
    "casts": "SELECT 1" + "::INT" * 12_000,
    "ctes": "WITH a AS (" * 200 + "SELECT 1" + ") SELECT * FROM a" * 200,
}
LARGE = {
    "columns": "SELECT " + ", ".join(["1"] * 30_000),
    "unions": " UNION ALL ".join(["SELECT 1 AS a"] * 10_000),
    "selects": " UNION ALL ".join(["SELECT 1 AS a"] * 301),
    "names": "SELECT " + ", ".join(f"seconds AS c{n}" for n in range(1001)) + " FROM frames",
    "ors": "SELECT * FROM frames WHERE " + " OR ".join(["seconds > 1"] * 1002),
    "characters": "SELECT '" + "a" * 600_000 + "'",
}


def refused(sql: str, sandbox: Sandbox) -> str:
    """Why a statement is not planned."""
    with pytest.raises(QueryError) as caught:
        prepare(sql, (), {}, sandbox, false_match_rate=0.01, max_rows=10)
    return str(caught.value)


@pytest.mark.parametrize("name", DEEP)
def test_too_deep(name: str, sandbox: Sandbox) -> None:
    said = refused(DEEP[name], sandbox)
    assert "nested" in said or "depth" in said
    assert "\n" not in said


@pytest.mark.parametrize("name", LARGE)
def test_too_large_is_said_at_little_cost(name: str, sandbox: Sandbox) -> None:
    begun = process_time()
    assert "allowed: " in refused(LARGE[name], sandbox)
    assert process_time() - begun < 4.0


SLOW = {
    "joins": "SELECT count(*) FROM frames f0 "
    + " ".join(f"JOIN frames f{n} USING (video_id, frame)" for n in range(1, 300)),
    "ctes": "WITH c0 AS (SELECT * FROM frames)"
    + "".join(f", c{n} AS (SELECT * FROM c{n - 1} WHERE seconds > {n})" for n in range(1, 290))
    + " SELECT count(*) FROM c289",
    "matches": "SELECT frame FROM frames WHERE "
    + " AND ".join(f"CLIP_MATCH(frame, 't{n}') > 0.1" for n in range(600)),
    "columns": "SELECT "
    + ", ".join(f"CLIP_MATCH(frame, 't{n}')" for n in range(2400))
    + " FROM frames",
}


@pytest.mark.parametrize("name", SLOW)
def test_planning_has_a_deadline(
    name: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.planner.bounds.PLANNING_SECONDS", 0.1)
    assert refused(SLOW[name], sandbox).startswith("planning the statement takes more than 0.1 s")


def test_many_matches_are_planned(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.planner.bounds.PLANNING_SECONDS", LONG)
    sql = SLOW["matches"].split(" AND CLIP_MATCH(frame, 't60'")[0]
    assert len(prepare(sql, (), {}, sandbox, false_match_rate=0.01, max_rows=10).plan.inputs) == 1


def test_a_long_row_of_conditions_is_not_deep(sandbox: Sandbox) -> None:
    sql = "SELECT * FROM frames WHERE " + " AND ".join(["seconds > 1"] * 1000)
    prepare(sql, (), {}, sandbox, false_match_rate=0.01, max_rows=10)


def test_what_is_allowed_is_allowed_in_any_thread(sandbox: Sandbox) -> None:
    deep = MOST_NESTED - 1
    found: list[Exception | None] = []

    def plan() -> None:
        for opening, closing in (("(", ")"), ("[", "]"), ("(SELECT * FROM ", ")")):
            inner = "videos" if "FROM" in opening else "1"
            sql = f"SELECT * FROM (SELECT {opening * (deep - 1)}{inner}{closing * (deep - 1)} AS a)"
            if "FROM" in opening:
                sql = f"SELECT * FROM {opening * deep}{inner}{closing * deep}"
            try:
                prepare(sql, (), {}, sandbox, false_match_rate=0.01, max_rows=10)
                found.append(None)
            except ParseError as error:
                found.append(error)

    thread = threading.Thread(target=plan)
    thread.start()
    thread.join()
    assert found == [None, None, None]


def test_the_place_of_the_bracket_too_many(sandbox: Sandbox) -> None:
    with pytest.raises(ParseError, match="deeper than 32") as caught:
        prepare(DEEP["brackets"], (), {}, sandbox, false_match_rate=0.01, max_rows=10)
    assert caught.value.position == len("SELECT ") + MOST_NESTED


@pytest.mark.parametrize("terms", [250, 700])
@pytest.mark.parametrize("explain", ["", "EXPLAIN ", "EXPLAIN ANALYZE "])
def test_a_chain_of_any_length_is_run_or_refused(
    terms: int, explain: str, shared_videos: Videos, sandbox: Sandbox
) -> None:
    """What can be planned may still be too deep to be written or shown."""
    any_of = " OR ".join(f"seconds = {n} + video_id" for n in range(terms))
    sql = f"{explain}SELECT count(*) FROM frames WHERE {any_of}"
    with suppress(ParseError):
        assert run_sql(shared_videos.context(sandbox), sql, max_rows=1000).table.num_rows > 0
