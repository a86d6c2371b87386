"""Vectors from a server: taken in batches, and whatever it does wrong is said in one line."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from engine import Engine
from engine.errors import ModelError, UsageError
from engine.video.write import write_h264
from engine.vision.backbone.remote import KEY, PICTURES
from engine.vision.model import load_model
from engine.vision.registry import build_strategy
from tests.embedding_server import (
    COLOURS,
    DIMENSION,
    SILENT,
    EmbeddingServer,
    code,
    embedding_server,
    of_text,
    packed,
)

SECRET = "sk-very-secret"
SIZE = 32


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddingServer]:
    monkeypatch.setenv(KEY, SECRET)
    with embedding_server() as told:
        yield told


def named(server: EmbeddingServer, options: str = "") -> str:
    return f"{server.url}#eye?size={SIZE}{options}"


def colours(height: int = 24, width: int = 24) -> list[np.ndarray]:
    return [np.full((height, width, 3), rgb, np.uint8) for rgb in COLOURS.values()]


@pytest.mark.parametrize("form", ["input", "messages", "modality"])
def test_pictures_and_texts_are_the_servers(form: str, server: EmbeddingServer) -> None:
    model = load_model(named(server, f"&form={form}"))
    assert (model.space.dimension, model.space.name) == (DIMENSION, "eye")
    pictures, texts = model.embed_images(colours() * 8), model.embed_texts(list(COLOURS))
    np.testing.assert_allclose(np.linalg.norm(pictures, axis=1), 1, rtol=1e-6)
    assert (pictures[:3] @ texts.T).argmax(1).tolist() == [0, 1, 2]
    plain = np.asarray(of_text("blue"))
    np.testing.assert_allclose(texts[2], plain / np.linalg.norm(plain), atol=1e-6)
    assert {asked[:2] for asked in server.asked} == {("/v1/embeddings", f"Bearer {SECRET}")}
    assert max(asked[2] for asked in server.asked) == (3 if form == "messages" else PICTURES)


def test_a_picture_keeps_its_shape(server: EmbeddingServer) -> None:
    model = load_model(named(server))
    wide = np.full((10, 40, 3), 255, np.uint8)
    [vector] = model.embed_images([wide])
    cells = vector.reshape(4, 4, 3)
    assert (cells[[0, 3]] < 0).all()  # black above and below
    assert (cells[1:3] > 0).all()


def test_a_dimension_and_a_prompt_are_options(server: EmbeddingServer) -> None:
    whole, cut = load_model(named(server)), load_model(named(server, "&dim=12"))
    ours, theirs = cut.embed_texts(["red"]), whole.embed_texts(["red"])[:, :12]
    np.testing.assert_allclose(ours, theirs / np.linalg.norm(theirs), atol=1e-6)
    assert cut.space.name == "eye-12"
    assert cut.space.key != whole.space.key
    asking = load_model(named(server, "&prompt=find: {}"))
    assert asking.space.key == whole.space.key  # what is stored is the same
    asking.embed_texts(["red"])
    assert server.told[-1] == "find: red"
    with pytest.raises(ModelError, match=f"dim 99; allowed: at most {DIMENSION}"):
        load_model(named(server, "&dim=99"))


def test_a_server_that_is_busy_is_asked_again(server: EmbeddingServer) -> None:
    model = load_model(named(server))
    server.instead = [
        code(429, Retry_After="0"),
        code(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"),
    ]
    assert model.embed_texts(["red"]).shape == (1, DIMENSION)
    assert server.instead == []


def test_too_much_at_once_is_asked_in_halves(server: EmbeddingServer) -> None:
    model = load_model(named(server))
    noise = np.random.default_rng(0).integers(0, 256, (8, SIZE, SIZE, 3), np.uint8)
    together = model.embed_images(list(noise))
    server.asked.clear()
    server.most_bytes = 6_000
    np.testing.assert_array_equal(model.embed_images(list(noise)), together)
    assert 8 in (counts := [asked[2] for asked in server.asked])
    assert max(counts[3:]) < 8
    server.most_bytes = 600
    with pytest.raises(ModelError, match=r"a request of \d+ bytes is too large for it; a smaller"):
        model.embed_images(list(noise))


def nan(rows: list[list[float]]) -> tuple[int, bytes, dict[str, str]]:
    return packed([[float("nan"), *row[1:]] for row in rows])


WRONG: dict[str, Callable] = {
    r"its reply is no JSON": lambda _: (200, b"<html>", {}),
    r"its reply is no JSON$": lambda _: (200, b"[" * 200_000, {}),
    r"got more than 65536 bytes when reading": code(200, X="a" * 70_000),
    r"its reply is no list of embeddings of one length": lambda rows: packed([rows[0], [1.0]]),
    r"its reply is no list of embeddings": lambda _: (200, b'{"data": [{"embedding": 3}]}', {}),
    r"its reply is no list": lambda _: (200, b"[1, 2]", {}),
    r"it gives 1 vectors for 2": lambda rows: packed(rows[:1]),
    r"a vector is not all numbers \(NaN or Inf\)": nan,
    r"a vector is all zeros": lambda rows: packed([[0.0] * len(row) for row in rows]),
    r"a vector of 3 numbers; expected 48": lambda rows: packed([row[:3] for row in rows]),
    r"it does not accept the key; DEJAVU_EMBEDDINGS_KEY holds it": code(401),
    r"it knows no such model, or no /embeddings there": code(404),
    r"it answered 302: it sends one elsewhere": code(302, Location="http://127.0.0.1:9/"),
    r"it answered 400": code(400),
}


@pytest.mark.parametrize("said", WRONG)
def test_what_is_wrong_is_said_in_a_line_without_the_key(
    said: str, server: EmbeddingServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    model = load_model(named(server))
    server.instead = [WRONG[said]]
    with pytest.raises(ModelError, match=said) as raised:
        model.embed_texts(["red", "blue"])
    assert "\n" not in str(raised.value)
    assert SECRET not in f"{raised.value} {raised.value.__cause__} {model} {caplog.text}"


def test_one_that_is_gone_or_says_nothing_is_given_up(server: EmbeddingServer) -> None:
    model = load_model(named(server, "&timeout=0.2"))
    server.instead = [code(SILENT)]
    with pytest.raises(ModelError, match="timed out"):
        model.embed_texts(["red"])
    with pytest.raises(ModelError, match=r"embeddings of http://127\.0\.0\.1:9/v1#eye: .*refused"):
        load_model("http://127.0.0.1:9/v1#eye")


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("https://host/v1", ModelError, "no model is named; allowed: https://host/v1#MODEL"),
        ("https://me:word@host/v1#eye", ModelError, r"https://host/v1: a URL holds no name, key"),
        ("https://host/v1#eye?dimm=3", UsageError, "'dimm'; allowed: dim, .*; nearest: dim"),
        ("https://host/v1#eye?dim=many", UsageError, "dim 'many' of a model; allowed: a number"),
        ("https://host/v1#eye?form=odd", UsageError, "form 'odd'; allowed: input, messages"),
        ("https://host/v1#eye?prompt=find", UsageError, r"a text with \{\} where the query"),
        ("owner/model?timeout=3", UsageError, "allowed: of a URL alone"),
        ("builtin?dim=3", UsageError, "allowed: builtin without options"),
    ],
)
def test_a_name_that_cannot_be_meant_is_refused(name: str, kind: type, said: str) -> None:
    with pytest.raises(kind, match=said) as raised:
        load_model(name)
    assert "word" not in str(raised.value)


def test_videos_are_embedded_densely_and_nothing_is_half_stored(
    server: EmbeddingServer, tmp_path: Path
) -> None:
    shown = [np.full((48, 64, 3), rgb, np.uint8) for rgb in COLOURS.values()]
    write_h264(tmp_path / "clip.mp4", [each for each in shown for _ in range(8)], 4.0)
    name, data = named(server), tmp_path / "data"
    with Engine.open(data, name, "cpu", fps=2.0) as engine:
        server.instead = [code(400)] * 99
        with pytest.raises(ModelError, match="it answered 400"):
            engine.ingest([tmp_path / "clip.mp4"])
        server.instead = [lambda _: None, lambda _: None, nan]
        with pytest.raises(ModelError, match="not all numbers"):
            engine.ingest([tmp_path / "clip.mp4"])
        server.instead.clear()
        report = engine.ingest([tmp_path / "clip.mp4"])
        assert report.frames == 12
        assert f"dense: vectors come from {name}" in json.dumps(report.as_dict(), default=str)
        [best, *_] = engine.query("something green").moments
        assert 2.0 <= best.start_seconds <= best.stop_seconds <= 4.1
        with pytest.raises(UsageError, match=r"a forward of ours, .*allowed: dense"):
            build_strategy("earlygate", engine.model.tower)
    held = [path for path in data.rglob("*") if path.is_file()]
    assert held
    assert not any(SECRET.encode() in path.read_bytes() for path in held)
