"""Arguments that public calls refuse, each in one line that says what is allowed."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Engine, EngineError, UsageError
from engine.client import Client
from engine.library import Library
from engine.world.make import make_world


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("clips")
    make_world(folder, "test", 1, 3)
    with Engine.open(tmp_path_factory.mktemp("data"), fps=1, device="cpu") as opened:
        opened.ingest(folder)
        yield opened


Call = Callable[[Any], object]
NAMES = "cmc_emulated, dense"


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda e: e.query(None), "text is None; allowed: a text, bytes"),
        (lambda e: e.query("a", top_k="3"), "top_k is '3'; allowed: a whole number"),
        (lambda e: e.query("a", top_k=True), "top_k is True; allowed: a whole number"),
        (lambda e: e.query("a", min_score="x"), "min_score is 'x'; allowed: a number, None"),
        (lambda e: e.query("a", group_by="vidio"), "unknown group_by 'vidio'; .*nearest: video"),
        (lambda e: e.query("a", videos=1), "videos is 1; allowed: a list, each a whole number or"),
        (lambda e: e.query("a", videos=[None]), r"videos is \[None\]; allowed: a list"),
        (lambda e: e.query("a", where=3), "where is 3; allowed: a text, None"),
        (
            lambda e: e.query("a", mix={"a": "x"}),
            "mix is .*; allowed: a mapping of a text to a num",
        ),
        (lambda e: e.query("a", mix=["b"]), "mix is .*; allowed: a mapping of a text to a number"),
        (
            lambda e: e.query("a", strategy="dens"),
            f"'dens'; allowed: auto, {NAMES}.*nearest: dense",
        ),
        (lambda e: e.query("a", strategy=3), "option strategy takes a text, got 3"),
        (
            lambda e: e.query("a", fps=1e9),
            "fps takes a number above 0, at most 240, got 1000000000",
        ),
        (lambda e: e.query("a", fps=float("nan")), "fps takes a number above 0, at most 240"),
        (lambda e: e.query("a", max_drift=3.0), "max_drift takes a number above 0 and below 1"),
        (lambda e: e.query("a", false_match_rate=0.7), "above 0 and below 0.5, got 0.7"),
        (lambda e: e.sql("SELECT 1", options={"strategy": "dens"}), "nearest: dense"),
        (lambda e: e.sql("SELECT 1", options=[1]), r"options is \[1\]; allowed: a mapping"),
        (lambda e: e.sql(None), "sql is None; allowed: a text"),
        (lambda e: e.explain(b"SELECT 1"), "sql is b'SELECT 1'; allowed: a text"),
        (lambda e: e.ask(3), "question is 3; allowed: a text"),
        (lambda e: e.ask("what?", "red"), "choices is 'red'; allowed: a list, each a text, None"),
        (lambda e: e.ask("what?", ["red", 3]), "choices is .*; allowed: a list, each a text"),
        (lambda e: e.ingest(5), "paths is 5; allowed: a text, a path, an address, a list, each a "),
        (lambda e: e.ingest("x.mp4", parts="nosuch"), "no trained file at nosuch; allowed: a .saf"),
        (lambda e: e.ingest("x.mp4", fps="2"), "fps is '2'; allowed: a number, None"),
        (lambda e: e.ingest("x.mp4", strategy="dens"), "nearest: dense"),
        (lambda e: e.ingest("x.mp4", max_drift="non"), "unknown max_drift 'non'.*nearest: none"),
        (lambda e: e.ingest("x.mp4", workers=1.5), "workers is 1.5; allowed: a whole number, None"),
        (lambda e: e.ingest("x.mp4", options=3), "options is 3; allowed: a mapping of a text to a"),
        (lambda e: e.register(None), "paths is None"),
        (
            lambda e: e.jobs("redy"),
            "unknown status 'redy'; .*queued, ready, running; nearest: ready",
        ),
        (lambda e: e.videos(3), "pattern is 3; allowed: a text, None"),
        (lambda e: e.videos(limit="3"), "limit is '3'; allowed: a whole number, None"),
        (lambda e: e.video(1.5), "video is 1.5; allowed: a whole number, a text"),
        (lambda e: e.frame(1, "0"), "seconds is '0'; allowed: a number"),
        (lambda e: e.tag(1, [3]), r"values is \[3\]; allowed: a mapping"),
        (lambda _: Engine.open(3), "root is 3; allowed: a text, a path, None"),
        (lambda _: Engine.open(strategy="dens"), "setting strategy: unknown.*nearest: dense"),
        (lambda _: Library.open(None), "root is None; allowed: a text, a path"),
        (lambda _: Client("http://127.0.0.1:9").query(None), "text is None"),
        (lambda _: Client("http://127.0.0.1:9").jobs("redy"), "unknown status 'redy'"),
    ],
)
def test_what_is_not_of_its_kind_is_refused_in_one_line(
    engine: Engine, call: Call, told: str
) -> None:
    with pytest.raises(UsageError, match=told) as raised:
        call(engine)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300


def test_options_of_a_statement_are_checked_as_those_of_a_call(engine: Engine) -> None:
    with pytest.raises(EngineError, match=f"'dens'; allowed: auto, {NAMES}.*nearest: dense"):
        engine.sql("SELECT 1 OPTIONS (strategy = 'dens')")
    with pytest.raises(EngineError, match="fps takes a number above 0, at most 240, got 241"):
        engine.sql("SELECT 1 OPTIONS (fps = 241)")


def test_bytes_are_an_image_for_image_match_alone(engine: Engine) -> None:
    for sql in (
        "SELECT ? AS d",
        "SELECT name FROM videos WHERE name = ?",
        "SELECT length(?::TEXT)",
    ):
        with pytest.raises(EngineError, match="bytes are an image, for IMAGE_MATCH alone"):
            engine.sql(sql, b"a")


def test_what_is_of_its_kind_is_taken(engine: Engine) -> None:
    ids = [video.video_id for video in engine.videos()]
    for videos in (ids, tuple(ids), set(ids), np.array(ids), iter(ids)):
        assert engine.query("a", np.int64(2), videos=videos, min_score=np.float32(-1)).moments
    assert engine.video(np.int64(ids[0])).video_id == ids[0]  # type: ignore[arg-type]
    assert engine.jobs("ready") == engine.jobs() == []


ANY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.lists(st.one_of(st.integers(-3, 3), st.text(max_size=3), st.none()), max_size=2),
    st.dictionaries(st.text(max_size=3), st.one_of(st.floats(), st.text(max_size=3)), max_size=2),
)
FIELDS = ("text", "top_k", "videos", "group_by", "min_score", "exact", "mix", "where", "strategy")


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_no_argument_of_query_ends_in_an_error_of_python(
    engine: Engine, data: st.DataObject
) -> None:
    arguments: dict[str, Any] = {"text": "a"}
    for name in data.draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=2)):
        arguments[name] = data.draw(ANY, label=name)
    with suppress(EngineError):
        engine.query(**arguments)


def test_a_call_with_an_unknown_argument_is_pythons_to_refuse(engine: Engine) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'limits'"):
        engine.videos(limits=3)  # type: ignore[call-arg]
