"""The vectors of texts that were looked for lately."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from engine.session import Engine
from engine.storage import known_texts
from engine.storage.known_texts import KnownTexts, Vectors


class Counting:
    """Gives each text a vector of its own, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> Vectors:
        self.asked += texts
        return np.stack([np.frombuffer(text.ljust(8).encode()[:8], np.float32) for text in texts])


def test_a_text_is_embedded_once_in_each_space(tmp_path: Path) -> None:
    embed, known = Counting(), KnownTexts(tmp_path, writable=True)
    both = known.get("space", ["one", "two"], embed)
    mixed = KnownTexts(tmp_path, writable=True).get("space", ["two", "six", "one"], embed)
    np.testing.assert_array_equal(mixed[[2, 0]], both)
    assert embed.asked == ["one", "two", "six"]
    known.get("another", ["one"], embed)
    assert embed.asked[3:] == ["one"]


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    embed, known = Counting(), KnownTexts(tmp_path, writable=True)
    known.get("space", ["one"], embed)
    (path,) = (tmp_path / "space").iterdir()
    whole = path.read_bytes()
    for damaged in (b"", whole[:-4], whole[:32], whole[:-1] + b"\xff"):
        path.write_bytes(damaged)
        known.get("space", ["one"], embed)
        assert path.read_bytes() == whole
    assert embed.asked == ["one"] * 5


def test_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_texts, "MOST_TEXTS", 10)
    embed, known = Counting(), KnownTexts(tmp_path, writable=True)
    for number in range(25):
        known.get("space", [f"text {number}"], embed)
        assert len(list((tmp_path / "space").iterdir())) <= 10
    known.get("space", [f"text {number}" for number in range(20, 25)], embed)
    assert len(embed.asked) == 25


def test_a_reader_uses_them_and_writes_none(tmp_path: Path) -> None:
    embed = Counting()
    KnownTexts(tmp_path, writable=True).get("space", ["one"], embed)
    KnownTexts(tmp_path, writable=False).get("space", ["one", "two"], embed)
    assert embed.asked == ["one", "two"]
    assert len(list((tmp_path / "space").iterdir())) == 1


def test_an_engine_keeps_what_its_model_made_of_a_text(tmp_path: Path) -> None:
    with Engine.open(tmp_path, device="cpu") as engine:
        made = engine.model.embed_texts(["a red circle"])
        engine._model.embed_texts(["a red circle"])
        (path,) = (tmp_path / "texts" / engine.space).iterdir()
        np.testing.assert_array_equal(np.frombuffer(path.read_bytes()[32:], np.float32), made[0])
        engine.remove_space(engine.space)
        assert not path.exists()
