"""`bench shown`: curves that are fitted, and probabilities that are held to account."""

from dataclasses import replace

import numpy as np
import pytest

from engine.answering.shown import ShownReading
from engine.evaluation.bench.shown import fit_curve, logistic, reliability, tabulate
from engine.evaluation.bench.shown_asks import LookedVideo, ShownAsk


def draw(count: int, seed: int) -> list[ShownAsk]:
    """Askings of one video each whose strength alone tells whether it shows it."""
    random = np.random.default_rng(seed)
    asks = []
    for number in range(count):
        strength = float(random.normal(0, 3))
        shown = bool(random.random() < 1 / (1 + np.exp(-strength)))
        sure = np.array([0.5, *random.dirichlet(np.ones(3)) / 2])
        answer = int(random.choice(4, p=sure))
        loud = sure**2 / (sure**2).sum()  # half the temperature
        reading = ShownReading(float(random.normal()), strength, float(random.normal()), 0.2)
        video = LookedVideo(f"{number}", reading, tuple(loud.tolist()), shown)
        asks.append(ShownAsk(f"{number}", "colour", 1, shown, shown, answer, (video,)))
    return asks


def test_a_logistic_curve_is_found_again() -> None:
    random = np.random.default_rng(1)
    inputs = random.normal(size=(20_000, 2)) * [1, 5] + [2, -3]
    logits = inputs @ [1.5, -0.2] - 2.5
    found = logistic(inputs, random.random(20_000) < 1 / (1 + np.exp(-logits)))
    assert found == pytest.approx([1.5, -0.2, -2.5], abs=0.12)


def test_what_was_drawn_is_fitted_and_comes_true() -> None:
    curve = fit_curve(draw(900, 1), draw(900, 2), "0" * 64)
    weights = np.array(curve.video) * curve.any[0]
    assert weights[:4] == pytest.approx([0, 1, 0, 0], abs=0.25)
    assert curve.temperature == pytest.approx(2, abs=0.4)
    assert curve.threshold == pytest.approx(0.5, abs=0.1)
    report = tabulate(curve, draw(900, 3), "drawn")
    rows = {str(row[0]): row for row in report.rows}
    assert rows["all: not shown, recognised"][2] == pytest.approx(80, abs=6)
    assert rows["all: shown, kept"][2] == pytest.approx(80, abs=6)
    assert all(float(table.data["calibration_error"]) < 6 for table in report.more)
    loud = tabulate(replace(curve, temperature=0.5), draw(900, 3), "drawn")
    assert float(loud.more[1].data["calibration_error"]) > 15


def test_reliability_by_hand() -> None:
    told = [(0.95, True), (0.95, False), (0.15, False), (0.15, False)]
    report = reliability("of it", told)
    assert [row[:4] for row in report.rows] == [
        ["10–20", 2, pytest.approx(15), 0],
        ["90–100", 2, pytest.approx(95), 50],
    ]
    assert report.data["calibration_error"] == pytest.approx((15 + 45) / 2)
