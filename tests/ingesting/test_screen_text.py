"""What is written in pictures becomes lines of a transcript, found as what is said is."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from engine.errors import UsageError
from engine.library import Library
from engine.session import Engine
from engine.video.write import write_h264

WRITTEN = ((0, ""), (2, "EXIT 24 NORTH"), (5, "PLATFORM SEVEN"), (8, ""))  # from when on


def picture(text: str) -> np.ndarray:
    """A grey picture with some words."""
    image = Image.new("RGB", (480, 272), (200, 205, 210))
    ImageDraw.Draw(image).text((30, 110), text, fill="black", font=ImageFont.load_default(36))
    return np.asarray(image)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of one video of ten seconds that shows words."""
    at = [[text for start, text in WRITTEN if start * 5 <= n][-1] for n in range(50)]
    write_h264(tmp_path / "signs.mp4", (picture(text) for text in at), 5.0)
    with Engine.open(tmp_path / "data", device="cpu") as engine:
        engine.register(tmp_path / "signs.mp4")
    return tmp_path / "data"


def test_words_in_pictures_are_read_and_found(store: Path) -> None:
    pytest.importorskip("rapidocr", reason="needs dejavu-engine[ocr]")
    with Library.open(store) as library:
        ((name, taken),) = library.read_screens(every_seconds=1.0)
        assert (name, taken.source, taken.lines, taken.fresh) == ("signs.mp4", "screen", 2, True)
        ((_, again),) = library.read_screens(every_seconds=1.0)
        assert (again.lines, again.fresh) == (2, False)
        ((_, closer),) = library.read_screens(every_seconds=0.5)
        assert closer.fresh
        with pytest.raises(UsageError, match="every is 0 s; allowed: above 0"):
            list(library.read_screens(every_seconds=0.0))
    with Engine.open(store, device="cpu") as engine:
        lines = engine.sql(
            "SELECT start_seconds, stop_seconds, text, source FROM transcript ORDER BY ALL"
        ).rows()
        found = engine.query("platform seven", signals=["words"]).moments
    assert [(line["text"], line["source"]) for line in lines] == [
        (text, "screen") for _, text in WRITTEN if text
    ]
    spans = [(line["start_seconds"], line["stop_seconds"]) for line in lines]
    np.testing.assert_allclose(spans, [(2, 5), (5, 8)], atol=0.5)
    assert found[0].line == "PLATFORM SEVEN"


def test_without_the_extra_it_is_said(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with Library.open(store) as library, pytest.raises(UsageError, match=r"dejavu-engine\[ocr\]"):
        list(library.read_screens())
