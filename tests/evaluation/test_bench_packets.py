"""Statistics of packets are ranked by what is really lost, and the gate's draws are counted."""

import pytest

from engine.evaluation.bench.cameras import CODINGS, write_camera
from engine.evaluation.bench.packets import STATISTICS, run


@pytest.fixture(scope="module")
def row(tmp_path_factory):
    path = tmp_path_factory.mktemp("camera") / "1s.mp4"
    write_camera(path, 3, CODINGS["1s"], seconds=34, redundancy=0.9)
    report = run([path], draws=10, device="cpu")
    assert [each[0] for each in report.rows] == ["1s", "mean"]
    return dict(zip(report.columns, report.rows[0], strict=True))


def test_no_order_decodes_less_than_key_pictures_nor_more_than_all_samples_ask_for(row) -> None:
    assert row["to the last"] == pytest.approx(7 / 12)  # 12 pictures a group, 0 and 6 sampled
    for name in (*STATISTICS, "random"):
        assert 0.0833 <= row[name] <= row["to the last"]
    assert row["best"] <= row["random"] + 1e-9


def test_the_gate_pays_for_its_audit_and_keeps_the_bound(row) -> None:
    assert 16 / 34 * 7 / 12 < row["gate"] <= row["to the last"]
    assert row["kept"] == 1
    assert 0 <= row["gate drift"] <= 0.02
