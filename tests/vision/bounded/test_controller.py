"""What the controller asks for where nothing drifts."""

from engine.vision.bounded.controller import rungs


def test_no_drift_at_all_asks_for_no_tighter_rung() -> None:
    assert rungs(0.0) < 0 < rungs(4.0)
