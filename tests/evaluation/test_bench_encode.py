"""The encode benchmark where there is no GPU, and its counts."""

import pytest
import torch

from engine.errors import UsageError
from engine.evaluation.bench.eager import Eager
from engine.evaluation.bench.encode import (
    ENTRIES,
    RATES,
    TOWERS,
    TimedSetting,
    kernel_tables,
    reuse_macs,
    run,
)
from engine.vision.backbone.macs import dense_macs
from engine.vision.backbone.precision import capable
from engine.vision.backbone.tower import VisionConfig, VisionTower


def test_a_processor_is_refused() -> None:
    with pytest.raises(UsageError, match="allowed: cuda"):
        run(device="cpu")


@pytest.mark.parametrize("model", TOWERS)
def test_work_falls_with_reuse_and_starts_at_dense(model: str) -> None:
    config = TOWERS[model]
    work = [reuse_macs(config, rate) for rate in (0.0, *RATES, 1.0)]
    assert work == sorted(work, reverse=True)
    # deciding costs a little, and the last layer's attention is counted for class tokens alone
    assert work[0] == pytest.approx(dense_macs(config), rel=0.01)


def test_work_of_the_large_tower_is_the_published_count() -> None:
    # 18.03 GMAC at a mean reuse of 0.85 over all tokens and layers, similarities per frame
    assert reuse_macs(TOWERS["L/14"], 0.85) == pytest.approx(18.03e9, rel=0.01)


def test_eager_is_the_same_tower() -> None:
    torch.manual_seed(0)
    tower = VisionTower(VisionConfig(2, 32, 2, 64, 4, 8, 8)).eval().requires_grad_(False)
    pixels = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    expected = tower(tower.normalise(pixels))
    torch.testing.assert_close(Eager(tower).encode(pixels), expected)


def test_kernels_are_listed_by_rate_the_longest_first() -> None:
    listed = {
        "dense L/14": {"attend": 7.0, "product": 60.0},
        "reusevit L/14 at 0.5": {"product": 31.0, "chain": 2.0},
        "reusevit L/14 at 0.9": {"product": 8.0, "attend": 9.0},
    }
    dense, reuse = kernel_tables(listed)
    assert dense.rows == [["product", 60.0], ["attend", 7.0], ["all", 67.0]]
    assert reuse.columns == ("kernel", "0.5", "0.9")
    assert reuse.rows == [
        ["product", 31.0, 8.0], ["attend", None, 9.0], ["chain", 2.0, None], ["all", 33.0, 17.0],
    ]  # fmt: skip


def test_eight_bits_move_fewer_bytes_and_do_the_same_work() -> None:
    tower = VisionTower(VisionConfig(2, 32, 2, 64, 4, 8, 8)).eval().requires_grad_(False)
    setting = TimedSetting(tower, 1, (0.5,))
    [full], [eight] = ENTRIES["dense"](setting), ENTRIES["dense-fp8"](setting)
    assert (eight.name, eight.macs, eight.frames) == ("dense-fp8", full.macs, full.frames)
    assert isinstance(tower.layer(0).qkv, torch.nn.Linear)  # the other's is a copy
    assert [entry.label for entry in ENTRIES["reusevit-fp8"](setting)] == ["reusevit-fp8 at 0.5"]


@pytest.mark.gpu
def test_every_entry_is_timed() -> None:
    only = (
        ("reusevit", "earlygate", "dense-fp8") if capable(torch.device("cuda")) else ("reusevit",)
    )
    report = run(("B/16",), streams=4, rates=(0.9,), only=only, repeats=2)
    assert {row[1] for row in report.rows} == {"dense", *only}
    assert all(row[3] > 0 for row in report.rows)
    assert set(ENTRIES) >= {"dense", "compiled", "eager-fp32", "reusevit"}
