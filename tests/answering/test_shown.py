"""What is said of nothing like it being there, and how sure answers are."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from engine.answering.answer import Answered
from engine.answering.ground import Grounded
from engine.answering.shown import (
    SHIPPED,
    ShownCurve,
    ShownReading,
    likeliness,
    load_curve,
    settle,
    shipped_curve,
)
from engine.errors import ModelError
from engine.results import NOT_SHOWN
from engine.vision.model import load_model

CURVE = ShownCurve("0" * 64, (0.5, 0.25, 0.0, 2.0, -1.0), (2.0, -0.5, 0.25), 2.0, 0.5)


def answered(strength: float = 4.0) -> Answered:
    """An answer by looking at three frames."""
    relevance = np.array([0.2, 0.75, 0.5])
    return Answered(
        *("red", 0, 0.64, (0.64, 0.32, 0.04), ("red", "blue", "green"), Grounded(0, 1, 0.5)),
        *(relevance, "looked at 3 frames", strength, 3),
    )


def test_a_reading_is_weighed() -> None:
    reading = ShownReading.of(answered(), 0.3)
    assert reading.values == pytest.approx((math.log(3), 4.0, math.log(2), 0.3))
    logit = 0.5 * math.log(3) + 1 + 0.6 - 1
    assert CURVE.fit(reading) == pytest.approx(logit)
    assert likeliness(CURVE, answered(), 0.3) == pytest.approx(logit)
    assert likeliness(None, answered(), 0.3) == 4.0
    assert likeliness(CURVE, replace(answered(), looked=0), 0.3) == 4.0


def test_choices_and_nothing_make_one() -> None:
    likely = settle(CURVE, answered(), 1.0, 1)
    shown = 1 / (1 + math.exp(-2.25))
    roots = np.sqrt([0.64, 0.32, 0.04])
    assert likely.choices == ("red", "blue", "green", NOT_SHOWN)
    assert likely.probabilities == pytest.approx([*shown * roots / roots.sum(), 1 - shown])
    assert (likely.text, likely.confidence) == ("red", likely.probabilities[0])
    # of several videos another one may show it, and any choice
    among = settle(replace(CURVE, any=(2.0, 0.5, 0.25)), answered(), 1.0, 8)
    any_of_them = 1 / (1 + math.exp(-2.25 - 0.5 * math.log(8)))
    expected = shown * roots / roots.sum() + (any_of_them - shown) / 3
    assert among.probabilities == pytest.approx([*expected, 1 - any_of_them])


def test_nothing_is_the_answer_below_the_threshold() -> None:
    unlikely = settle(CURVE, answered(), -1.0, 8)
    shown = 1 / (1 + math.exp(1.75 + 0.5 * math.log(8)))
    assert (unlikely.text, unlikely.choice) == (NOT_SHOWN, 3)
    assert unlikely.confidence == pytest.approx(1 - shown)
    assert sum(unlikely.probabilities) == pytest.approx(1)
    assert settle(replace(CURVE, threshold=shown - 1e-9), answered(), -1.0, 8).text == "red"
    for logit in (-1e9, 1e9):
        assert sum(settle(CURVE, answered(), logit, 8).probabilities) == pytest.approx(1)


def test_a_file_is_of_one_model(tmp_path: Path) -> None:
    path = tmp_path / "curve.json"
    path.write_text(json.dumps({"card": {}, "curve": asdict(CURVE)}))
    assert load_curve(path, "0" * 64) == CURVE
    with pytest.raises(ModelError, match=r"curve.json is of model 000000000000, not of 1111"):
        load_curve(path, "1" * 64)
    for text in ("{}", "rubbish", '{"curve": {"video": [1]}}'):
        path.write_text(text)
        with pytest.raises(ModelError, match="is no curve of what is shown"):
            load_curve(path, "0" * 64)


def test_what_ships_fits_the_model_and_says_how_it_was_made() -> None:
    space = load_model("builtin", device="cpu").space
    assert shipped_curve(space) is not None
    assert shipped_curve(replace(space, model="another")) is None
    card = json.loads(SHIPPED.read_text())["card"]
    assert card["command"].startswith("dejavu-engine bench shown --fit ")
    assert {"version", "seed", "learned_from", "made_to_come_true_on"} < set(card)
