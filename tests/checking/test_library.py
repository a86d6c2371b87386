"""Checkpoints of transformers' own classes, and a server's vectors, go through to a card."""

from pathlib import Path
from typing import Any

import pytest

from engine.checking.card import CheckCard, save_card
from engine.checking.check import Tryout, check_model, made_up
from engine.checking.library import compare_library
from engine.errors import ModelError
from engine.vision.backbone.library import LibraryFamily, library_of
from engine.vision.model import load_model
from tests.embedding_server import code, embedding_server
from tests.library_checkpoints import TINY

SMALL = Tryout(streams=2, frames=3, device="cpu")
TAKES = {
    "naflex": "pictures of any shape, of at most 2560 pixels, texts up to 24 tokens",
    "gemma": "pictures of any shape, of at most 4480 pixels, texts up to 8192 tokens",
    "qwen": "pictures of any shape, of at most 460800 pixels, texts up to 8192 tokens",
    "x_clip": "clips of 4 pictures of 32 pixels, texts up to 12 tokens",
    "videoprism": "clips of 4 pictures of 32 pixels, texts up to 24 tokens",
}


def quiet(_: str) -> None:
    """Hear nothing."""


@pytest.mark.parametrize("name", TINY)
def test_each_family_gets_a_card(name: str, tmp_path: Path) -> None:
    folder = TINY[name](tmp_path / name)
    card = check_model(str(folder), SMALL, quiet)
    told = "\n".join(card.lines())
    if name == "videoprism":  # its video processor needs torchvision
        assert card.difference is None or card.difference.levels < 1.01
    else:
        assert card.difference is not None
        assert max(card.difference.image, card.difference.text) < 1e-5
        assert card.difference.preprocessed < 2e-3
        assert card.difference.levels < 2.01
        assert "largest difference from transformers' own unit vectors" in told
    assert TAKES[name] in card.good_for
    assert "every frame is embedded in full" in told
    assert card.times.gate_ms is None
    assert card.space == load_model(str(folder), device="cpu").space.key
    save_card(card, tmp_path / "card.json")
    assert CheckCard.read(tmp_path / "card.json") == card
    limits = Tryout(streams=1, frames=2, device="cpu", limits=tmp_path / "limits")
    with pytest.raises(ModelError, match="no early gate to calibrate, for "):
        check_model(str(folder), limits, quiet)


def test_preprocessing_that_is_not_the_librarys_is_noticed(tmp_path: Path) -> None:
    folder = TINY["naflex"](tmp_path)
    family = library_of(str(folder), folder)
    assert family is not None

    def spoiled(parts: Any) -> Any:
        parts.processor["image_mean"] = [0.4, 0.5, 0.5]
        return family.build(parts)

    other = LibraryFamily(family.name, family.why, spoiled)
    model = load_model(str(folder), device="cpu")
    pictures = made_up()[0][:2]
    found, _ = compare_library(str(folder), other, folder, model, pictures, ["a dog"])
    assert found is not None
    assert found.levels == pytest.approx(25.5, abs=2.1)


def test_a_server_gets_a_card_without_weights(tmp_path: Path) -> None:
    with embedding_server() as server:
        name = f"{server.url}#eye?size=32"
        card = check_model(name, SMALL, quiet)
        told = "\n".join(card.lines())
        assert (card.weights.files, card.layers, card.dimension) == ((), 0, 48)
        assert "a server's weights cannot be looked at" in told
        assert "its unit vectors differ by 0.0e+00 at most" in told
        assert "safetensors" not in told
        assert "licence" not in told
        save_card(card, tmp_path / "card.json")
        assert CheckCard.read(tmp_path / "card.json") == card
        server.instead = [code(401)]
        with pytest.raises(ModelError, match="it does not accept the key") as raised:
            check_model(name, SMALL, quiet)
        assert "sk-very-secret" not in str(raised.value)
