"""The encode benchmark where there is no GPU, and its counts."""

import pytest
import torch

from engine.errors import UsageError
from engine.evaluation.bench.eager import Eager
from engine.evaluation.bench.encode import ENTRIES, RATES, kernel_tables, run
from engine.evaluation.bench.forced import reuse_macs
from engine.evaluation.bench.timed import (
    TOWERS,
    TimedSetting,
    in_groups,
    meet,
    moving_pixels,
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


def test_pictures_change_as_much_as_they_are_asked_to() -> None:
    tower = VisionTower(VisionConfig(2, 32, 2, 64, 4, 32, 8)).eval().requires_grad_(False)
    pictures = moving_pixels(tower, 5, 8, 0.25)
    assert len(pictures) == 8
    for one, other in zip(pictures, [*pictures[1:], pictures[0]], strict=True):
        patches = (one == other).unflatten(3, (8, 4)).unflatten(2, (8, 4)).movedim(3, 4)
        assert float(patches.flatten(4).all(-1).float().mean()) == pytest.approx(0.75, abs=0.1)
    first, second = in_groups(pictures)
    assert torch.equal(first.unflatten(0, (4, 5))[[2, 1, 3, 0]], torch.stack(pictures[:4]))
    assert torch.equal(second[:5], pictures[7])


def test_halving_meets_a_rate() -> None:
    assert meet(0.3, 0.0, 4.0, lambda x: x / 10) == pytest.approx(3.0, abs=1e-4)


@pytest.mark.gpu
def test_every_entry_is_timed() -> None:
    eight = ("dense-fp8",) if capable(torch.device("cuda")) else ()
    only = (*eight, *(name for name in ENTRIES if not name.endswith("-fp8")))
    report = run(("Ti/16",), streams=4, rates=(0.9,), only=only, repeats=2)
    assert {row[1] for row in report.rows} == {*only}
    assert all(row[4] > 0 for row in report.rows)
    live = [row[3] for row in report.rows if str(row[2]).startswith("live")]
    assert len(live) == 5
    assert live == pytest.approx(len(live) * [0.9], abs=0.03)
