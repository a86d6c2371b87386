"""`bench detect`: the shipped detector on a few coded clips, and what it refuses."""

import pytest

from engine.errors import UsageError
from engine.evaluation.bench import detect
from tests.detections import random_yolos


def test_the_shipped_detector_finds_things_dense_and_pruned() -> None:
    report = detect.run(clips=3, seed=5, split="val", fps=2.0, keep=(0.3,), every=6, device="cpu")
    dense, pruned = report.rows
    assert dense[:3] == ("dense", None, 1.0)
    assert dense[6] == 1.0
    assert pruned[:2] == ("rgtp", 0.3)
    assert isinstance(pruned[2], float)
    assert 1.5 < pruned[2] < 3
    for row, least in ((dense, 0.4), (pruned, 0.1)):
        *_, middle, low, high = row[:6]
        assert isinstance(middle, float)
        assert isinstance(low, float)
        assert isinstance(high, float)
        assert least < middle <= 1
        assert low <= high <= 1


def test_other_detectors_are_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    model = random_yolos(tmp_path_factory.mktemp("yolos"), ("ball", "box"))
    with pytest.raises(UsageError, match="knows no label 'black arrow' of the made-up world"):
        detect.run(model=model, clips=1, device="cpu")
