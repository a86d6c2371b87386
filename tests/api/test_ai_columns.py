"""AI_CLASSIFY, AI_EXTRACT, AI_JOIN and AI_FILTER of moments by a server, on real frames.

The server's answers are a function of the pictures alone: of their mean colours.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import duckdb
import numpy as np
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from api.app import create_app
from api.config import ServerSettings
from engine import Engine
from engine.errors import LookerError, UsageError
from tests.api.conftest import URL, Made
from tests.chat_server import Came, Reply, said, serving

CHANNELS = ("red", "green", "blue")


def channel_of(image: NDArray[np.uint8]) -> str:
    """The channel that stands out most from its usual mean."""
    means = image.reshape(-1, 3).mean(0)
    return CHANNELS[int((means - means.mean()).argmax())]


def by_colour(asked: Came) -> Reply:
    """What a model that sees would say, by the mean colour of the first picture."""
    channel, words = channel_of(asked.pictures[0]), asked.text
    if "yes or no" in words:
        return said("yes" if channel in words else "no")
    if "JSON" in words:
        assert asked.body["response_format"]["type"] == "json_schema"
        return said(json.dumps({"colour": channel, "pictures": len(asked.pictures)}))
    assert "exactly one of these" in words
    return said(f"{channel}.")


@pytest.fixture(scope="module")
def truth(made: Made) -> pa.Table:
    """Frames as PyAV decodes them, with the channel of each."""
    rows: list[dict[str, Any]] = []
    for name in ("one.mp4", "two.mp4"):
        with av.open(str(made.clips / name)) as container:
            for picture in container.decode(video=0):
                image = picture.to_ndarray(format="rgb24")
                rows.append({"name": name, "shown_at": picture.time, "channel": channel_of(image)})
    return pa.Table.from_pylist(rows)


@pytest.fixture
def asked(data: Path) -> Iterator[tuple[Engine, list[Came]]]:
    """An engine that asks the server."""
    with (
        serving(by_colour) as (url, came),
        Engine.open(data, device="cpu", looker_url=url, looker_at_once=3) as engine,
    ):
        yield engine, came


def expected(engine: Engine, truth: pa.Table, sql: str) -> list[tuple[Any, ...]]:
    """What stock DuckDB gives where the channel of each frame is a column."""
    rows = engine.sql("SELECT name, frame, seconds FROM frames JOIN videos USING (video_id)").table
    with duckdb.connect() as database:
        database.register("stored", rows)
        database.register("truth", truth)
        database.execute(
            "CREATE VIEW shown AS SELECT stored.*, channel FROM stored JOIN truth"
            " ON stored.name = truth.name AND abs(seconds - shown_at) < 1e-4"
        )
        assert database.execute("SELECT count(*) FROM shown").fetchall() == [(len(rows),)]
        return database.execute(sql).fetchall()


def given(engine: Engine, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in engine.sql(sql).rows()]


FORM = json.dumps(
    {
        "type": "object",
        "properties": {"colour": {"type": "string"}, "pictures": {"type": "integer"}},
    }
)
LABELLED = (
    "SELECT v.name, f.frame, AI_CLASSIFY(f.frame, ['red', 'green', 'blue']) AS label"
    " FROM frames f JOIN videos v USING (video_id) ORDER BY ALL"
)


def test_labels_forms_and_joins_are_those_of_the_pictures(
    asked: tuple[Engine, list[Came]], truth: pa.Table
) -> None:
    engine, came = asked
    labels = expected(engine, truth, "SELECT name, frame, channel FROM shown ORDER BY ALL")
    assert given(engine, LABELLED) == labels
    assert len({channel for *_, channel in labels}) > 1
    assert len(came) <= len(labels)  # a still picture comes just once
    sql = (
        f"SELECT AI_EXTRACT(frame, '{FORM}').colour AS c, count(*),"
        f" max(AI_EXTRACT(frame, '{FORM}').pictures) FROM frames GROUP BY 1 ORDER BY 1"
    )
    told = "SELECT channel, count(*), 1 FROM shown GROUP BY 1 ORDER BY 1"
    assert given(engine, sql) == expected(engine, truth, told)
    joined = (
        "SELECT c.n, count(*) FROM frames f JOIN (VALUES ('red', 1), ('blue', 2), ('none', 3))"
        " c(word, n) ON AI_JOIN(f.frame, c.word, 'is {} what stands out?') GROUP BY 1 ORDER BY 1"
    )
    told = (
        "SELECT CASE channel WHEN 'red' THEN 1 ELSE 2 END AS n, count(*) FROM shown"
        " WHERE channel IN ('red', 'blue') GROUP BY 1 ORDER BY 1"
    )
    assert given(engine, joined) == expected(engine, truth, told)


def test_moments_are_shown_by_several_pictures(asked: tuple[Engine, list[Came]]) -> None:
    engine, came = asked
    rows = engine.sql(
        f"SELECT AI_EXTRACT(m.start_seconds, '{FORM}') AS told,"
        " AI_FILTER(m.start_seconds, 'is red, green or blue what stands out?') AS so"
        " FROM moments('a star', min_score => -1) m"
    ).rows()
    assert len(rows) == 2  # each clip is one moment
    assert all(row["so"] and row["told"]["pictures"] == 4 for row in rows)
    assert {len(request.pictures) for request in came} == {4}
    assert {"several" if "frames of one moment" in r.text else "one" for r in came} == {"several"}


def test_what_was_said_is_kept_and_what_is_rubbish_ends_it(data: Path, truth: pa.Table) -> None:
    with serving(by_colour) as (url, came):
        settings = {"looker_url": url, "device": "cpu"}
        with Engine.open(data, **settings) as engine:
            first = given(engine, LABELLED)
        count = len(came)
        with Engine.open(data, **settings) as engine:
            assert given(engine, LABELLED) == first
            (line,) = (
                line
                for line in engine.explain(LABELLED, analyze=True).splitlines()
                if " asked: " in line
            )
        assert len(came) == count
        assert line.startswith(f"__told_1 asked: {len(first)} calls for {len(first)} rows, ")
    with (
        serving(lambda _: said("purple")) as (url, came),
        Engine.open(data, device="cpu", looker_url=url, looker_at_once=1) as engine,
        pytest.raises(LookerError, match="gave no answer: it answered 'purple'; expected one of"),
    ):
        engine.sql(LABELLED)
    assert len(came) == 2  # once more after the first, and nothing after that


def test_calls_of_a_key_run_out(data: Path) -> None:
    keys = ServerSettings(api_keys="lab=read:look-1", key_limits="lab.model_calls=3")
    with (
        serving(by_colour) as (url, came),
        Engine.open(data, device="cpu", looker_url=url) as engine,
        TestClient(create_app(engine, keys), base_url=URL) as client,
    ):
        head = {"Authorization": "Bearer look-1"}
        found = client.post("/sql", json={"sql": LABELLED}, headers=head)
    assert found.status_code == 429
    assert "model_calls of this key are used up" in found.json()["detail"]
    assert len(came) == 3


def test_the_builtin_reader_chooses_labels_and_fills_no_forms(own_engine: Engine) -> None:
    from engine.answering.choose import statements
    from engine.ingest import redecode

    labels = ["a star", "a ring", "a moon"]
    sql = f"SELECT AI_CLASSIFY(frame, {labels}, 'what is there?') AS l FROM frames"
    rows = own_engine.sql(f"{sql} WHERE video_id = 1 ORDER BY frame").rows()
    reader = own_engine._contexts.heads.patch_reader
    assert reader is not None
    store, space = own_engine.store, own_engine.space
    frames = sorted(store.rows(space, [1], ["frame"]).column("frame").to_pylist())
    import torch

    from engine.vision.backbone.preprocess import prepare

    told = []
    for image in redecode(store, space, 1, frames):
        tokens = reader.see(torch.stack([prepare(image, reader.model.preprocessing)]))
        chosen = reader.judge(tokens, np.zeros(1), statements("what is there?", labels))
        told.append({"l": labels[chosen.choice]})
    assert rows == told
    with pytest.raises(UsageError, match="AI_EXTRACT needs a model that answers in words"):
        own_engine.sql("SELECT AI_EXTRACT(frame, ['x']) FROM frames")
