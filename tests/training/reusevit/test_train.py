"""The loss at its limits, a step that lowers it, a run that resumes, and what it leaves."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.errors import ModelError, UsageError
from engine.training.reusevit import ReuseTraining, StoredFrames, Trainer, Window, WorldFrames
from engine.training.reusevit.clips import batches
from engine.training.reusevit.loss import reuse_loss, reuse_rate, teach
from engine.training.reusevit.pattern import PATTERNS
from engine.training.reusevit.soft import encode_clips
from engine.training.reusevit.train import parameter_groups
from engine.vision.reusevit.file import load_modules, save_modules
from engine.vision.reusevit.modules import ReuseConfig

CHAIN = PATTERNS["chain"]
CONFIG = ReuseTraining(
    target=0.7, epochs=2, batch=2, save_every=1, modules=ReuseConfig(narrow=8, cue="pixels")
)


def source(small: Any, clips: int = 4) -> StoredFrames:
    return StoredFrames(small.frames(clips, 13, change=0.2))


def held_out(small: Any) -> list[Window]:
    return [Window(clip) for clip in small.frames(2, 13, change=0.2, seed=1)]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_loss_at_its_limits(share: float, small: Any) -> None:
    tower, modules = small.tower(), small.modules(cue="none")
    frames = small.frames(2, 13)[:, list(CHAIN.offsets)]
    values = tower.normalise(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

    def impose(logits: Tensor) -> Tensor:
        return torch.full_like(logits[..., 0], share)

    result = encode_clips(tower, modules, values, None, CHAIN, lambda _gate, _slot: impose)
    config = replace(CONFIG, weight_hidden=(1.0, 1.0))
    losses = reuse_loss(result, teach(tower, values[:, -3:]), config, 3)
    if share:
        # 16 of 17 tokens, counted up to 0.95; the last slot's mean is not capped
        assert losses.rate.item() == pytest.approx(16 / 17)
        assert losses.reuse.item() == 0
        assert losses.similarity.item() > 1e-3
    else:
        assert losses.similarity.item() == pytest.approx(0, abs=1e-5)
        assert losses.hidden.item() == pytest.approx(0, abs=1e-5)
        assert losses.hidden.item() == pytest.approx(0, abs=1e-5)
        assert losses.reuse.item() == pytest.approx(config.target)


def test_the_rate_is_capped_but_for_the_last_slot() -> None:
    shares = torch.ones(2, 3, 4, 10)
    expected = (2 * 3 * 4 * 0.95 + 2) / (3 * 2 * 4 + 2)
    assert reuse_rate(shares, 0.95).item() == pytest.approx(expected)


def test_steps_lower_the_loss(small: Any, tmp_path: Path) -> None:
    trainer = Trainer(small.tower(), replace(CONFIG, noise=(0.1, 0.1)), tmp_path)
    (batch,) = batches(
        source(small),
        CHAIN,
        trainer.modules,
        epoch=0,
        batch=4,
        skip=0,
        patch=8,
        device=torch.device("cpu"),
    )
    found = [float(trainer.train_step(batch).total.detach()) for _ in range(30)]
    assert sum(found[-5:]) < sum(found[:5])


def test_a_broken_off_run_resumes_as_if_it_had_not(small: Any, tmp_path: Path) -> None:
    class Broken(StoredFrames):
        def windows(self, span: int, epoch: int) -> Any:
            for number, window in enumerate(super().windows(span, epoch)):
                if epoch == 1 and number == 3:
                    raise KeyboardInterrupt
                yield window

    whole = Trainer(small.tower(), CONFIG, tmp_path / "whole")
    expected = whole.run(source(small), held_out(small))
    first = Trainer(small.tower(), CONFIG, tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        first.run(Broken(source(small).pixels), held_out(small))
    second = Trainer(small.tower(), CONFIG, tmp_path / "broken")
    assert second.run(source(small), held_out(small)) == expected
    assert second.step == whole.step == 4
    ours = second.modules.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in whole.modules.state_dict().items())


def test_a_run_leaves_parts_a_log_and_a_report(small: Any, tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=5, batch=2)
    trainer = Trainer(small.tower(), config, tmp_path)
    found = trainer.run(source(small), held_out(small))
    loaded = load_modules(trainer.checkpoint, small.config(), weight_hash="")
    assert loaded.card.target == 0.7
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["validation"]["drift"] == pytest.approx(found.drift)
    assert len(report["validation"]["gate_reuse"]) == len(report["layer_drift"]) == 3
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["10"]
    with pytest.raises(ModelError, match="other settings"):
        Trainer(small.tower(), replace(config, target=0.5), tmp_path).run(
            source(small), held_out(small)
        )


def test_calibration_alone_reaches_the_rate(small: Any, tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=0, batch=4, modules=ReuseConfig(narrow=8, cue="none"))
    trainer = Trainer(small.tower(), config, tmp_path)
    trainer.run(source(small), held_out(small))
    frames = source(small).pixels[:, list(CHAIN.offsets)]
    values = trainer.tower.normalise(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
    trainer.modules.eval()
    result = encode_clips(
        trainer.tower, trainer.modules, values, None, CHAIN, lambda _gate, _slot: _served
    )
    assert float(result.shares[:, -3:].mean()) == pytest.approx(0.7, abs=0.12)
    assert trainer.modules.gate(0).restoration.up.abs().sum() == 0


def test_a_run_goes_out_from_other_parts_at_its_own_rate(small: Any, tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=0, batch=4, modules=ReuseConfig(narrow=8, cue="none"))
    first = Trainer(small.tower(), config, tmp_path / "first")
    first.modules.load_state_dict(small.modules(cue="none").state_dict())
    path = tmp_path / "modules.safetensors"
    save_modules(path, first.modules, first._card())
    for target in (0.4, 0.7):
        trainer = Trainer(
            small.tower(), replace(config, target=target), tmp_path / str(target), start=path
        )
        trainer.run(source(small), held_out(small))
        frames = source(small).pixels[:, list(CHAIN.offsets)]
        values = trainer.tower.normalise(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        trainer.modules.eval()
        result = encode_clips(
            trainer.tower, trainer.modules, values, None, CHAIN, lambda _gate, _slot: _served
        )
        assert float(result.shares[:, -3:].mean()) == pytest.approx(target, abs=0.05)
        moved = [
            (ours - theirs).abs().max().item()
            for ours, theirs in zip(
                trainer.modules.parameters(), first.modules.parameters(), strict=True
            )
        ]
        assert sum(change > 0 for change in moved) == len(trainer.modules.gates)


def test_a_run_ends_with_its_time(small: Any, tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=10**6, seconds=1e-3, judge_every=10**6)
    trainer = Trainer(small.tower(), config, tmp_path)
    found = trainer.run(source(small), held_out(small))
    assert trainer.step <= 1
    assert found.reuse > 0


def test_annealed_rates_fall_to_zero(small: Any, tmp_path: Path) -> None:
    config = replace(CONFIG, anneal=True, gamma=1.0, noise=(1.0, 0.0), epochs=4)
    trainer = Trainer(small.tower(), config, tmp_path)
    seen = []
    for trainer.epoch in range(5):
        trainer._pace()
        seen.append((float(trainer.optimizer.param_groups[0]["lr"]), float(trainer.noise)))
    rates, noises = zip(*seen, strict=True)
    assert rates == pytest.approx([2.5e-3, 2.13388e-3, 1.25e-3, 3.6612e-4, 0], rel=1e-4)
    assert noises == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0])


def test_groups_of_parameters_have_their_learning_rates(small: Any) -> None:
    groups = parameter_groups(small.modules(), CONFIG)
    assert [group["lr"] for group in groups] == [2.5e-3, 5e-4, 2.5e-3]
    counted = sum(p.numel() for group in groups for p in group["params"])
    assert counted == sum(p.numel() for p in small.modules().parameters())


def test_rendered_windows_are_the_same_each_time() -> None:
    frames = WorldFrames(2, 32, seed=3)
    first, again = (list(frames.windows(3, 0)) for _ in range(2))
    other = list(frames.windows(3, 1))
    assert all(torch.equal(a.pixels, b.pixels) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0].pixels, other[0].pixels)
    assert first[0].pixels.shape == (3, 3, 32, 32)


def test_turned_windows_are_the_same_ones_mirrored_or_backwards(small: Any) -> None:
    pixels = small.frames(12, 5)
    ways = [(), (-1,), (0,), (-1, 0)]
    found = []
    for window in StoredFrames(pixels, turned=True).windows(5, 0):
        (match,) = [
            (at, way)
            for at in range(12)
            for way in ways
            if torch.equal(pixels[at].flip(way), window.pixels)
        ]
        found.append(match)
    assert sorted(at for at, _ in found) == list(range(12))
    assert {way for _, way in found} == set(ways)


@pytest.mark.parametrize(
    "wrong", [{"target": 1.0}, {"batch": 0}, {"epochs": -1}, {"pattern": "x"}, {"gates": "x"}]
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ReuseTraining(**wrong)


def _served(logits: Tensor) -> Tensor:
    return (logits[..., 0] > logits[..., 1]).float()
