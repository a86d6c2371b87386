"""The bench of several GPUs, by processes without one: what is warm, and what is the same."""

from multiprocessing import get_context

import pytest
import torch

from engine.errors import UsageError
from engine.evaluation.bench import encode, multigpu
from engine.evaluation.bench.multigpu import SIZES, Noise, StrategyMaker, of_lengths, run
from engine.vision.backbone.tower import VisionConfig
from engine.vision.fused.dense import FusedDense
from engine.vision.reusevit.fused import FusedReuse
from engine.vision.streaming.batcher import Batcher, StreamSource
from engine.vision.streaming.parallel import Room

TINY = VisionConfig(layers=2, width=32, heads=2, mlp=64, patch=8, image_size=16, dimension=16)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(encode.TOWERS, "tiny", TINY)
    monkeypatch.setattr(multigpu, "LENGTHS", (9, 17, 5))
    monkeypatch.setenv("TRITON_INTERPRET", "0")  # plain, for speed: equality is tested elsewhere


@pytest.mark.parametrize(("strategy", "fused"), [("dense", FusedDense), ("reusevit", FusedReuse)])
def test_what_the_timed_part_runs_ran_before_the_clock(
    strategy: str, fused: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: set[tuple[int, ...]] = set()  # a graph is recorded for each; its values do not matter
    monkeypatch.setattr(fused, "_forward", lambda _self, *size: sizes.add(size))
    room = Room(lanes=4, frames=8)
    made = StrategyMaker(strategy, TINY, room, get_context("spawn").Barrier(1))(CPU)
    warm, sizes = sizes, set()
    for many in (1, 2, 9):
        sources = (StreamSource(at, Noise(at, n, 16)(CPU)) for at, n in enumerate(of_lengths(many)))
        list(Batcher(made, lanes=room.lanes, frames=room.frames).whole(sources))
    assert sizes
    assert sizes <= warm


def test_warming_up_hands_streams_on_from_turn_to_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[int] = []
    monkeypatch.setattr(FusedReuse, "_forward", lambda *_: None)
    monkeypatch.setattr(FusedReuse, "load", lambda _self, saved: loaded.append(len(saved)))
    StrategyMaker("reusevit", TINY, Room(lanes=2, frames=8), get_context("spawn").Barrier(1))(CPU)
    assert sum(loaded)


@pytest.mark.slow
def test_two_processes_give_what_one_does() -> None:
    report = run(
        (2, 1, 2), model="tiny", strategies=("earlygate",), stretches=2, lanes=1, device="cpu"
    )
    rows = [dict(zip(report.columns, row, strict=True)) for row in report.rows]
    assert [row["GPUs"] for row in rows] == [1, 2]
    assert [row["differs"] for row in rows] == [0, 0]


def test_names_are_checked() -> None:
    with pytest.raises(UsageError, match="L/14"):
        run(model="L/15", device="cpu")
    with pytest.raises(UsageError, match="reusevit"):
        run(strategies=("reuse",), device="cpu")
    with pytest.raises(UsageError, match="cpu, cuda"):
        run(device="cuda:1")


def test_a_cpu_has_less_to_do() -> None:
    for size in SIZES.values():
        assert size.model in encode.TOWERS
    assert SIZES["cpu"].lanes * SIZES["cpu"].stretches < SIZES["cuda"].lanes
