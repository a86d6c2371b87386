"""The engine as a user holds it, on the built-in model and made-up clips."""

import base64
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from engine import Engine
from engine.asking.asked import AskedQuestion
from engine.background import background_of
from engine.client import Client
from engine.errors import ModelError, NotFoundError, StoreError, UsageError
from engine.knowledge import knows
from engine.operators.base import Reply
from engine.pictured import MOST_PICTURES, MOST_PLAYERS
from engine.results import NOT_SHOWN
from engine.video.decode import decode_range
from engine.video.gop import index_gops
from engine.video.write import write_h264
from engine.vision.backbone.locate import BUILTIN
from engine.world.make import make_world


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    make_world(folder, "test", 2, 3)
    return folder


@pytest.fixture(scope="module")
def engine(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine.open(tmp_path_factory.mktemp("data"), strategy="dense", fps=1) as opened:
        opened.register(clips)
        yield opened


@pytest.fixture(scope="module")
def ingested(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed store with every frame of the clips, to be copied."""
    data = tmp_path_factory.mktemp("ingested") / "data"
    with Engine.open(data, strategy="dense", fps=1, device="cpu") as engine:
        engine.ingest(clips)
        engine.query("a star")  # measures how unrelated texts score, once for all copies
    return data


def test_registered_videos_are_embedded_by_the_query_that_needs_them(engine: Engine) -> None:
    assert engine.sql("SELECT count(*) AS n FROM frames").rows() == [{"n": 0}]
    sql = (
        "SELECT seconds FROM frames WHERE video_id = 1 AND seconds < 2"
        " AND CLIP_MATCH(frame, $t) > -2"
    )
    first = engine.sql(sql, t="a red circle")
    assert [row["seconds"] for row in first.rows()] == [0.0, 1.0]
    assert first.work.embedded[0].frames >= 2
    assert engine.sql(sql, t="a red circle").work.embedded == []
    assert engine.sql("SELECT DISTINCT video_id FROM frames").rows() == [{"video_id": 1}]


def test_a_notebook_shows_what_it_is(engine: Engine) -> None:
    assert repr(engine) == f"<Engine {engine.settings.data}, model builtin on auto>"
    assert repr(engine.sql("SELECT 1 AS a, 2 AS b")) == "<SqlResult 1 row of a, b>"
    assert repr(Client("http://127.0.0.1:8000/", key="hidden")) == "<Client http://127.0.0.1:8000>"


def test_a_notebook_shows_moments_and_plays_them(clips: Path, tmp_path: Path) -> None:
    """With all that is shown in it; what is gone is said, and a closed engine draws no picture."""
    hostile = tmp_path / "<img src=x onerror=alert(1)>.mp4"
    shutil.copy(next(clips.glob("*.mp4")), hostile)
    with Engine.open(tmp_path / "data", device="cpu") as engine:
        engine.ingest(hostile, strategy="dense")
        found = engine.query("a circle", top_k=20, group_by="frame")
        shown = found._repr_html_()
        assert len(found.moments) > MOST_PLAYERS
        assert shown.count("<video") == MOST_PLAYERS
        assert shown.count("<img") == min(len(found.moments), MOST_PICTURES) - MOST_PLAYERS
        addresses = re.findall(r'(?:src|poster)="([^"]*)"', shown)
        kinds = {address.partition(",")[0] for address in addresses}
        assert kinds == {"data:image/jpeg;base64", "data:video/mp4;base64"}
        film = next(address for address in addresses if "video" in address)
        with av.open(io.BytesIO(base64.b64decode(film.partition(",")[2]))) as container:
            assert next(container.decode(video=0)).width == 224
        assert "&lt;img src=x" in shown
        assert "http" not in shown
        assert len(shown) < 8_000_000
        assert found == replace(found)
        assert "_draw" not in json.dumps(asdict(found))
        hostile.unlink()
        assert "cannot be read" in found._repr_html_()
    assert "<table>" in found._repr_html_()


def test_query_finds_the_clip_that_the_text_describes(engine: Engine, clips: Path) -> None:
    told = json.loads((clips / "world.json").read_text())["clips"]
    for clip in told:
        found = engine.query(clip["caption"], top_k=2)
        assert found.moments[0].name == clip["file"]
        assert found.coverage.complete
    assert {video.status for video in engine.store.catalog.videos()} <= {"ready", "registered"}


def test_an_image_finds_itself(engine: Engine, clips: Path) -> None:
    path = clips / engine.store.catalog.video(2).name
    frame = next(iter(decode_range(path, 2.0, 3.0, gops=index_gops(path))))
    buffer = io.BytesIO()
    Image.fromarray(frame.image).save(buffer, "PNG")
    found = engine.query(buffer.getvalue(), top_k=1, group_by="frame").moments[0]
    assert found.video_id == 2
    assert found.score > 0.98
    rows = engine.sql(
        "SELECT video_id FROM frames ORDER BY IMAGE_MATCH(frame, $image) DESC LIMIT 1",
        image=buffer.getvalue(),
    ).rows()
    assert rows == [{"video_id": 2}]


def test_ingest_costs_nothing_for_what_is_stored(engine: Engine, clips: Path) -> None:
    engine.query("anything")
    again = engine.ingest(clips)
    assert [video.outcome for video in again.videos] == ["known", "known"]
    assert again.frames == 0


def test_ask_and_video_qa_answer_from_the_same_frames(engine: Engine) -> None:
    question, choices = "What colour is the circle?", ["red", "blue", "green"]
    name = engine.store.catalog.video(1).name
    said = engine.ask(question, choices, videos=[name])
    row = engine.sql(
        "SELECT VIDEO_QA(video_id, $q, $c) AS reply FROM videos WHERE video_id = 1",
        q=question,
        c=choices,
    ).rows()[0]["reply"]
    assert said.how.startswith("looked at ")
    assert row["answer"] == said.text
    assert row["confidence"] == pytest.approx(said.confidence)
    assert row["start_seconds"] == said.evidence[0].start_seconds
    assert set(said.scores) == {*choices, NOT_SHOWN}
    assert sum(said.scores.values()) == pytest.approx(1)
    assert said.confidence == said.scores[said.text] == said.claims[0].score
    absent = engine.ask("what?", ["red", "blue"], videos=[name])  # it names nothing
    assert (absent.text, absent.choice, absent.evidence) == (NOT_SHOWN, None, [])
    assert (absent.claims, absent.confidence) == ([], absent.scores[NOT_SHOWN])


def test_an_engine_that_only_reads_answers_as_one_that_writes(
    ingested: Path, tmp_path: Path
) -> None:
    question, choices, data = "What colour is the circle?", ["red", "blue", "green"], tmp_path / "d"
    sql = "SELECT VIDEO_QA(video_id, $q, $c) AS reply FROM videos ORDER BY video_id"
    shutil.copytree(ingested, data)
    with Engine.open(data, strategy="dense", fps=1, device="cpu") as writer:
        said = writer.ask(question, choices)
        rows = writer.sql(sql, q=question, c=choices).rows()
    kept = {path: path.read_bytes() for path in data.rglob("*.parquet")}
    with Engine.open(data, fps=1, device="cpu", read_only=True) as reader:
        assert said.how.startswith("looked at ")
        assert replace(reader.ask(question, choices), session=said.session) == said
        assert reader.sql(sql, q=question, c=choices).rows() == rows
        assert reader.query("a red circle", where="name IS NOT NULL").moments
    assert {path: path.read_bytes() for path in data.rglob("*.parquet")} == kept


def test_a_video_whose_file_has_gone_is_answered_from_its_vectors(
    clips: Path, tmp_path: Path
) -> None:
    moved = [tmp_path / clip.name for clip in sorted(clips.glob("*.mp4"))]
    for path in moved:
        path.write_bytes((clips / path.name).read_bytes())
    question, choices = "What colour is the star?", ["red", "blue"]
    with Engine.open(tmp_path / "data", strategy="dense", fps=1, device="cpu") as engine:
        engine.ingest(moved)
        for path in moved:  # what can be looked at comes before what cannot
            both = engine.ask(question, choices)
            assert both.how.startswith("looked at ")
            there = {path.name for path in moved if path.exists()}
            assert {moment.name for moment in both.evidence} <= there
            path.unlink()
        said = engine.ask(question, choices)
        assert said.how == "trained head; the file cannot be read, so nothing was looked at"
        assert said.text in choices


def test_video_qa_embeds_what_is_missing_and_has_no_answer_without_frames(
    clips: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    with Engine.open(tmp_path / "data", device="cpu") as fresh:
        fresh.register([clips, tmp_path / "text.mp4"])
        rows = fresh.sql(
            "SELECT name, VIDEO_QA(video_id, 'what?', ['red', 'blue']).answer AS a FROM videos"
        ).rows()
    answers = {row["name"]: row["a"] for row in rows}
    assert answers.pop("text.mp4") is None
    assert len(answers) == 2
    assert set(answers.values()) <= {"red", "blue", NOT_SHOWN}


def test_explain_shows_the_plan(engine: Engine) -> None:
    sql = "SELECT frame FROM frames ORDER BY CLIP_MATCH(frame, $t) DESC LIMIT 2"
    assert "Search best 2 by" in engine.explain(sql, t="a")
    rates = engine.store.catalog.calibration(engine.space, "rates") or {}
    assert all(kind.startswith("h264 of 2^") for kind in rates["decode"])
    assert list(rates["encode"]) == ["dense on auto"]
    for units, seconds in (*rates["decode"].values(), *rates["encode"].values()):
        assert units > 0
        assert seconds > 0
    assert "index: " in engine.explain(sql, analyze=True, t="a")


def test_the_built_in_model_says_what_its_answers_are_worth(engine: Engine, clips: Path) -> None:
    found = engine.query("qwertyuiop zzzz")
    assert found.moments
    assert [moment.clear for moment in found.moments] == [False] * len(found.moments)
    told = "the built-in model knows made-up clips only"
    assert found.caution is not None
    assert told in found.caution
    assert engine.ask("what does he do?", ["cooks", "sleeps"]).caution == found.caution
    assert engine.ingest(clips).caution == found.caution
    assert engine.store.catalog.calibration(engine.space, "null")["content"] == "made-up clips, 1"


def test_a_background_that_changes_has_a_new_number() -> None:
    """A store keeps its null until the number says that it is another one's."""
    seen = {model: background_of(model).texts for model in ("builtin", "openai/clip-vit")}
    hashes = {
        knows(model): sha256("\n".join(texts).encode()).hexdigest()[:8]
        for model, texts in seen.items()
    }
    assert hashes == {"made-up clips, 1": "4558c64f", "everyday life, 1": "65a151cb"}


def test_a_bare_match_is_calibrated_on_the_models_own_world(engine: Engine) -> None:
    rows = engine.sql("SELECT count(*) AS n FROM frames WHERE CLIP_MATCH(frame, 'a ring')").rows()
    assert rows[0]["n"] >= 0
    stored = engine.store.catalog.calibration(engine.space, "null")
    assert stored is not None
    assert stored["width"] > 0


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"fsp": 2}, UsageError, "unknown setting 'fsp'.*nearest: fps"),
        ({"fps": -1}, UsageError, "setting fps: input should be greater than 0, got -1"),
        ({"model": "bultin"}, ModelError, "unknown model 'bultin'"),
        ({"device": "gpu"}, UsageError, "unknown device 'gpu'"),
        (
            {"precision": "fp4"},
            UsageError,
            "setting precision: input should be 'auto', 'bf16' or 'fp8'",
        ),
    ],
)
def test_what_cannot_be_opened(
    tmp_path: Path, given: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Engine.open(tmp_path, **given)  # type: ignore[arg-type]


def test_what_only_loading_can_tell_is_told_then(tmp_path: Path) -> None:
    with (
        Engine.open(tmp_path, device="cpu", precision="fp8") as engine,
        pytest.raises(UsageError, match="got cpu; allowed: bf16"),
    ):
        engine.load()


def test_a_model_is_known_by_its_files_before_it_is_loaded(clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(BUILTIN, folder)
    with Engine.open(tmp_path / "data", str(folder), "cpu", fps=1, strategy="dense") as engine:
        engine.ingest(clips)
        space = engine.space
    with Engine.open(tmp_path / "data", str(folder), "cpu") as engine:
        assert engine.sql("SELECT count(*) AS n FROM frames").rows()[0]["n"] > 0
        assert engine.space == space
        assert engine._model._model is None
    weights = folder / "model.safetensors"
    stat = weights.stat()
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1  # other weights that look the same at a glance
    weights.write_bytes(data)
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with Engine.open(tmp_path / "data", str(folder), "cpu") as engine:
        assert engine.space == space
        with pytest.raises(ModelError, match="no longer gives the space model-"):
            engine.query("a red circle")
    with Engine.open(tmp_path / "data", str(folder), "cpu") as engine:
        assert engine.space != space


def test_options_of_a_statement_are_values(engine: Engine) -> None:
    sql = "SELECT frame FROM frames ORDER BY CLIP_MATCH(frame, 'a ring') DESC LIMIT 2"
    assert engine.sql(sql, options={"exact": False, "refine_frames": 3}).arrow().num_rows == 2
    with pytest.raises(UsageError, match=r"unknown option 'exat'.*nearest: exact"):
        engine.sql(sql, options={"exat": True})
    with pytest.raises(UsageError, match="option strategy takes a text, got 1"):
        engine.explain(sql, options={"strategy": 1})


def test_a_stored_video_is_listed_shown_and_cut(engine: Engine, tmp_path: Path) -> None:
    first, second = engine.videos()
    assert engine.videos(first.name) == [engine.video(first.video_id)] == [first]
    picture = Image.open(io.BytesIO(engine.frame(first.name, 1.0, width=50)))
    assert picture.format == "JPEG"
    assert picture.width == 50
    cut = engine.clip(second.video_id, 1.0, 2.0, tmp_path / "cut.mp4")
    assert index_gops(cut)[-1].stop_seconds == pytest.approx(1.0, abs=0.1)
    with pytest.raises(UsageError, match="the video is 0 to"):
        engine.clip(first.name, 500.0, 501.0, tmp_path / "none.mp4")
    with pytest.raises(NotFoundError, match="no video 'x'"):
        engine.frame("x", 0.0)


def test_what_is_removed_is_gone_but_its_file_stays(clips: Path, tmp_path: Path) -> None:
    with Engine.open(tmp_path, device="cpu") as engine:
        engine.register(clips)
        gone, kept = engine.videos()
        engine.remove(gone.name)
        assert engine.videos() == [kept]
        assert Path(gone.path).exists()


def test_one_process_writes(engine: Engine) -> None:
    with pytest.raises(StoreError, match="is in use by process"):
        Engine.open(engine.settings.data)


def test_a_query_embeds_no_longer_than_it_may_and_the_next_one_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 255, (280, 1, 1, 3), np.uint8)
    images = (np.broadcast_to(colour, (32, 32, 3)).copy() for colour in colours)
    write_h264(tmp_path / "long.mp4", images, 4, gop=16)
    given = {"strategy": "dense", "fps": 1, "embed_seconds": 1e-6}
    with Engine.open(tmp_path / "data", **given) as engine:
        engine.register(tmp_path / "long.mp4")
        first = engine.query("red").coverage
        assert not first.complete
        assert 0 < first.frames < 70
        said = "embedding what is missing of 70 s of video, for at most 0 s; ingest embeds all"
        assert said in caplog.messages
        covered = [first]
        while not covered[-1].complete and len(covered) < 10:
            covered.append(engine.query("red").coverage)
        assert covered[-1].complete
        assert covered[-1].frames == sum(each.embedded for each in covered) == 70
        rest = engine.sql("SELECT count(*) AS n FROM frames OPTIONS (embed_seconds = 5)")
        assert rest.rows() == [{"n": 70}]


def test_options_of_a_query_are_checked(engine: Engine) -> None:
    with pytest.raises(UsageError, match="unknown option 'fsp'"):
        engine.query("a", fsp=3)
    with pytest.raises(NotFoundError, match="no video 'x'"):
        engine.query("a", videos=["x"])


def test_settings_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEJAVU_DATA", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("DEJAVU_GAP_SECONDS", "4")
    with Engine.open(gap_seconds=5) as engine:
        assert engine.settings.data == tmp_path / "elsewhere"
        assert engine.settings.gap_seconds == 5


def test_a_question_is_asked_once_for_all_statements(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def reply(_context: object, video: int, question: AskedQuestion, _: object) -> Reply:
        asked.append((video, question.text))
        return Reply("red", 0.5, 0.0, 1.0)

    monkeypatch.setattr("engine.ask.reply", reply)
    sql = "SELECT name, VIDEO_QA(video_id, 'what colour?').answer AS a FROM videos"
    with Engine.open(tmp_path / "data", strategy="dense", fps=1) as engine:
        engine.register(clips)
        assert engine.sql(sql).rows() == engine.sql(sql + " WHERE video_id > 0").rows()
        assert sorted(asked) == [(1, "what colour?"), (2, "what colour?")]
        engine.query("a red circle", videos=[1])  # now the first video has rows
        assert len(engine.sql(sql).rows()) == 2
        assert sorted(asked)[1:] == [(1, "what colour?"), (2, "what colour?")]
