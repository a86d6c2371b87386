"""Bounds on a mean: those that say so hold for whatever drifts, and the table tells them apart."""

import numpy as np
import pytest

from engine.evaluation.bench.sequences import BOUNDS, bernstein, betting, ratio, run

ANY_TIME = [betting, bernstein]


@pytest.mark.parametrize("bound", ANY_TIME)
@pytest.mark.parametrize("shape", ["rare", "even", "same"])
def test_a_bound_for_any_drift_holds_at_every_look(bound, shape) -> None:
    random = np.random.default_rng(3)
    drifts, mean = {
        "rare": (random.random((400, 60)) < 0.05, 0.05),
        "even": (random.random((400, 60)), 0.5),
        "same": (np.full((400, 60), 0.2), 0.2),
    }[shape]
    upper = bound(drifts.astype(float), 0.05)
    assert (np.diff(upper, axis=1) <= 0).all()  # what was refuted stays so
    assert (upper.min(1) >= mean - 1e-6).mean() >= 0.95


def test_a_bet_is_worth_what_its_definition_says() -> None:
    drifts, risk, means = np.array([[0.02, 0.0, 0.1, 0.01]]), 0.3, np.geomspace(1e-4, 1, 200)
    refuted = []
    for mean in means:  # one mean after the other, one audit after the other
        wealth, seen = 1.0, list[float]()
        for drift in drifts[0]:
            guess = (0.5 + sum(seen)) / (len(seen) + 1)
            spread = (0.25 + sum((each - guess) ** 2 for each in seen)) / (len(seen) + 1)
            bet = (mean - guess) / (spread + (mean - guess) ** 2)
            bet = min(max(bet, 0.0), 0.5 / (1 - mean + 1e-9))
            wealth *= 1 + bet * (mean - drift)
            seen.append(float(drift))
        refuted.append(wealth >= 1 / risk)
    standing = means[~np.array(refuted)].max()
    assert betting(drifts, risk)[0, -1] <= standing + 1e-12
    assert standing in betting(drifts, risk)[0]


def test_likelihood_ratios_hold_for_exponential_drifts_at_any_time() -> None:
    drifts = np.random.default_rng(4).exponential(0.01, (500, 40))
    assert (ratio(drifts, 0.05).min(1) >= 0.01).mean() >= 0.95


def test_the_table_has_a_row_for_each_bound() -> None:
    report = run(rounds=40, audits=16, frames=200, streams=("usual", "burst of 7 %"))
    assert [row[0] for row in report.rows] == list(BOUNDS)
    betted = next(row for row in report.rows if row[0] == "betting, drifts up to 1")
    assert betted[1] == 1
    assert betted[3] > report.rows[0][3]  # wide, for what it promises
