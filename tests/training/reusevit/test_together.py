"""Two processes that share each batch do what one does with all of it, broken off or not."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from engine.errors import ModelError, UsageError
from engine.training.crew import ALONE, Crew, run_together
from engine.training.reusevit import ReuseTraining, Trainer, Window, WorldFrames
from engine.training.reusevit.clips import ClipBatch
from engine.training.reusevit.frames import WHOLE, EachOf
from engine.training.reusevit.loss import ReuseLosses
from engine.vision.reusevit.modules import ReuseConfig
from tests.small import Small

# no noise and no dropout: what is left to differ is who computes which clip
CONFIG = ReuseTraining(
    target=0.6, epochs=2, batch=4, noise=(0.0, 0.0), save_every=1, modules=ReuseConfig(narrow=8)
)


@dataclass(frozen=True)
class Alternating:
    """Windows that move little and much by turns: two processes see unlike rates of reuse."""

    broken: bool = False
    share: EachOf = WHOLE

    def windows(self, span: int, epoch: int) -> Iterator[Window]:
        for number in range(9):  # two batches of four, and one that is left over
            if self.broken and epoch == 1 and number > 4:
                raise OSError("the disk is gone")
            if self.share.has(number):
                change = 0.03 if number % 2 == 0 else 0.5
                [clip] = Small().frames(1, span, change=change, seed=100 * epoch + number)
                yield Window(clip)

    def shared(self, share: EachOf) -> "Alternating":
        return replace(self, share=share)


class Recording(Trainer):
    """Keeps the crew's losses, and the gradient of the first step as it came to the optimiser."""

    def __init__(self, out: Path, crew: Crew) -> None:
        super().__init__(Small().tower(), CONFIG, out, crew=crew)
        self.seen: list[float] = []
        self.gradient = torch.empty(0)
        for module in self.modules.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0

    def train_step(self, batch: ClipBatch) -> ReuseLosses:
        losses = super().train_step(batch)
        self.seen.append(float(self.crew.mean(losses.total.detach())))
        if len(self.seen) == 1:
            self.gradient = torch.cat([p.grad.flatten() for p in self.modules.parameters()])
        return losses


def held_out() -> list[Window]:
    return [Window(clip) for clip in Small().frames(2, 13, change=0.2, seed=1)]


def train(out: Path, crew: Crew, source: Any) -> dict[str, Any]:
    trainer = Recording(out, crew)
    trainer.run(source, held_out() if crew.leads else [])
    weights = torch.cat([p.detach().flatten() for p in trainer.modules.parameters()])
    return {"losses": trainer.seen, "gradient": trainer.gradient, "weights": weights}


def work(crew: Crew, out: Path) -> None:
    """Train whole, and train broken off and taken up again; then fail in one process."""
    whole = train(out / "whole", crew, Alternating())
    with pytest.raises(OSError, match="disk"):
        train(out / "broken", crew, Alternating(broken=True))
    crew.all(True)  # whoever writes has done so
    again = train(out / "broken", crew, Alternating())
    torch.save({"whole": whole, "again": again}, out / f"{crew.rank}.pt")
    crew.all(True)
    if crew.rank == 1:
        raise UsageError("this one cannot go on")


def test_two_processes_train_as_one_on_twice_the_clips(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"process 1 of 2: .*this one cannot go on"):
        run_together(work, (tmp_path,), 2, "cpu")
    alone = train(tmp_path / "alone", ALONE, Alternating())
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for found in (first["whole"], second["whole"]):
        assert found["losses"] == pytest.approx(alone["losses"], rel=1e-4, abs=2e-7)
        size = alone["gradient"].norm()
        assert (found["gradient"] - alone["gradient"]).norm() < 1e-3 * size
        assert (found["weights"] - alone["weights"]).norm() < 1e-3 * alone["weights"].norm()
    assert len(alone["losses"]) == 4
    # broken off and gone on with: as if it had not been, in both
    for found in (first, second):
        torch.testing.assert_close(found["again"]["weights"], found["whole"]["weights"])
    torch.testing.assert_close(
        first["whole"]["weights"], second["whole"]["weights"], rtol=0, atol=0
    )
    reports = [
        json.loads((tmp_path / name / "report.json").read_text()) for name in ("alone", "whole")
    ]
    rates = [each["validation"]["reuse"] for each in reports]
    assert rates[0] == pytest.approx(rates[1], abs=0.02)


def test_a_run_of_two_is_not_gone_on_with_by_one(tmp_path: Path) -> None:
    trainer = Trainer(Small().tower(), CONFIG, tmp_path)
    trainer._save_state()
    state = torch.load(trainer.state_file, weights_only=True)
    torch.save(state | {"random": state["random"] * 2}, trainer.state_file)
    with pytest.raises(ModelError, match="a run of 2 processes, not of 1"):
        Trainer(Small().tower(), CONFIG, tmp_path).run(Alternating(), held_out())


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(UsageError, match="batch 12 cannot be shared by 5 processes"):
        Crew(0, 5).share(12)


def test_shares_of_a_source_are_the_whole() -> None:
    frames = WorldFrames(3, 32, seed=3)
    whole = [window.pixels for window in frames.windows(5, 0)]
    for rank in (0, 1):
        own = [window.pixels for window in frames.shared(EachOf(rank, 2)).windows(5, 0)]
        assert len(own) == len(whole[rank::2])
        assert all(torch.equal(a, b) for a, b in zip(own, whole[rank::2], strict=True))
