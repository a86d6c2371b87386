"""Several servers behind one answer as one store of all their videos does."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.api.sharded import SAID, TEXTS, Sharded, sharded

Found = list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def spread(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sharded]:
    with sharded(tmp_path_factory.mktemp("shards")) as made:
        yield made


def told(moments: list[dict[str, Any]], names: Any = None) -> Found:
    """Return what has to be the same, wherever it comes from."""
    return [
        (
            m["name"] if names is None else names[m["video_id"]],
            *(round(m[at], 6) for at in ("start_seconds", "stop_seconds", "peak_seconds")),
            tuple(m["signals"]),
            m["clear"],
            m["line"],
        )
        for m in moments
    ]


def drawn(draw: np.random.Generator) -> dict[str, Any]:
    """Draw a query."""
    words = [word for text in (*TEXTS, *SAID) for word in text.split()]
    texts = [" ".join(draw.choice(words, draw.integers(1, 5))), str(draw.choice(TEXTS))]
    asked: dict[str, Any] = {
        "text": str(draw.choice(texts)),
        "top_k": int(draw.choice([1, 3, 10, 60])),
        "group_by": str(draw.choice(["moment", "frame", "video"])),
    }
    if draw.random() < 0.3:
        asked["min_score"] = float(draw.uniform(-0.1, 0.6))
    if draw.random() < 0.3:
        asked["signals"] = [["image"], ["words"]][int(draw.integers(2))]
        if asked["group_by"] == "frame":
            asked["signals"] = ["image"]
    if draw.random() < 0.3:
        asked["where"] = "camera = 'north'"
    if draw.random() < 0.3:
        asked["videos"] = [["v1*"], ["v2.mp4", "v7.mp4"], ["*"]][int(draw.integers(3))]
    if draw.random() < 0.2:
        asked["mix"] = {"green": 0.5}
        asked.pop("signals", None)
    return asked


def test_moments_are_those_of_one_store_of_all_videos(spread: Sharded) -> None:
    draw = np.random.default_rng(7)
    for _ in range(24):
        asked = drawn(draw)
        answer = spread.client.post("/query", json=asked)
        assert answer.status_code == 200, (asked, answer.text)
        found, expected = answer.json(), spread.union.query(**asked)
        assert {shard["state"] for shard in found["shards"]} == {"answered"}
        assert told(found["moments"]) == told(expected.rows()), asked
        assert told(found["moments"]) == told(found["moments"], spread.names)
        for name in ("score", "words"):
            ours = [m[name] or 0.0 for m in found["moments"]]
            theirs = [m[name] or 0.0 for m in expected.rows()]
            assert ours == pytest.approx(theirs, abs=1e-5), asked
        for name in ("videos", "frames", "complete", "approximate", "edges_may_move"):
            assert found["coverage"][name] == getattr(expected.coverage, name), (name, asked)
        assert found["caution"] == expected.caution


SELECTS = (
    "SELECT video_id, seconds, CLIP_MATCH(frame, $t) AS s FROM frames ORDER BY s DESC LIMIT 7",
    "SELECT frame, video_id FROM frames ORDER BY CLIP_MATCH(frame, $t) DESC LIMIT $n OFFSET 3",
    "SELECT video_id, seconds FROM frames WHERE CLIP_MATCH(frame, $t) > 0.2 ORDER BY 1, 2 DESC",
    "SELECT video_id AS v, frame FROM frames WHERE video_id % 2 = 1 AND seconds < 3"
    " ORDER BY seconds, video_id",
    "SELECT name, round(duration_seconds, 1) AS d, camera FROM videos ORDER BY d DESC, name",
    "SELECT name FROM videos WHERE camera = 'north' ORDER BY camera NULLS FIRST, name LIMIT 4",
    "SELECT video_id, gop, stop_seconds FROM gops ORDER BY stop_seconds DESC, video_id",
)


@pytest.mark.parametrize("sql", SELECTS)
@pytest.mark.parametrize("text", ["a star", "green circle left"])
def test_rows_are_those_of_one_store_of_all_videos(spread: Sharded, sql: str, text: str) -> None:
    params: dict[str, Any] = {"t": text, "n": 5}
    params = {name: value for name, value in params.items() if f"${name}" in sql}
    answer = spread.client.post("/sql", json={"sql": sql, "params": params})
    assert answer.status_code == 200, answer.text
    found, expected = answer.json(), spread.union.sql(sql, **params).rows()
    assert len(found["rows"]) == len(expected) > 0
    for row, other in zip(found["rows"], expected, strict=True):
        assert list(row) == list(other)
        for name, value in row.items():
            if name in ("video_id", "v"):
                assert spread.names[value] == spread.union.video(other[name]).name
            elif isinstance(value, float):
                assert value == pytest.approx(other[name], abs=1e-6)
            else:
                assert value == other[name]
    named = dict(each.split("=") for each in answer.headers["x-dejavu-shards"].split("; "))
    assert named == {name: engine.snapshot() for name, engine in spread.shards.items()}


@pytest.mark.parametrize(
    ("sql", "refused"),
    [
        ("SELECT count(*) FROM frames", "COUNT"),
        ("SELECT * FROM frames", "*"),
        ("SELECT video_id FROM frames WHERE CLIP_MATCH(frame, 'a')", "a bare match"),
        ("SELECT CLIP_PROB(frame, 'a') AS p FROM frames", "CLIP_PROB"),
        ("SELECT video_id FROM moments('a')", "reading anything but a relation"),
        ("SELECT f.frame FROM frames f JOIN videos v USING (video_id)", "JOIN"),
        ("SELECT frame FROM frames WHERE seconds > (SELECT 1)", "SUBQUERY"),
        ("WITH x AS (SELECT 1) SELECT frame FROM frames", "WITH"),
        ("SELECT DISTINCT frame FROM frames", "DISTINCT"),
        ("SELECT frame FROM frames GROUP BY frame", "GROUP"),
        ("SELECT frame, row_number() OVER () AS n FROM frames", "WINDOW"),
        ("SELECT frame FROM frames UNION SELECT 1", "one plain SELECT"),
        ("SELECT video_id + 1 FROM frames", "needs a name"),
        ("SELECT frame FROM transcript", "transcript"),
        ("SELECT frame FROM frames LIMIT 1 + 1", "LIMIT"),
        ("SELECT frame FROM frames ORDER BY ALL", "ORDER BY ALL"),
        ("SELECT frame FROM (SELECT 1)", "relation"),
        ("DELETE FROM frames", "one plain SELECT"),
        ("SELEC", "one plain SELECT"),
        ("SELECT (", "cannot be read"),
    ],
)
def test_what_only_one_store_can_answer_is_refused_in_a_line(
    spread: Sharded, sql: str, refused: str
) -> None:
    answer = spread.client.post("/sql", json={"sql": sql})
    said = answer.json()["detail"]
    assert answer.status_code == 400
    assert refused.lower() in said.lower()
    assert "allowed" in said
    assert "\n" not in said
