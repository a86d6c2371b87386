"""The action model: its clips show what they are called, it learns them, what ships is right."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import VideoMAEForVideoClassification

from engine.errors import UsageError
from engine.evaluation.bench import actions
from engine.training.action.data import MOTIONS, batches, render_pool
from engine.training.action.train import (
    ActionTraining,
    choose_tokens,
    learn,
    shape_of,
    train,
)
from engine.vision.action import load_action_model
from engine.vision.backbone.video import VideoTower
from engine.world.action import DURATION, LABELS, make_action
from engine.world.scene import position_at
from engine.world.splits import motions_of


@pytest.mark.parametrize("motion", LABELS)
def test_one_thing_does_what_the_label_says(motion: str) -> None:
    for seed in range(6):
        clip = make_action(seed, "test", motion)
        [shot] = clip.script.shots
        movers = [thing for thing in shot.things if thing.acts[0].motion != "still"]
        assert len(movers) == (motion != "still")
        for thing in movers:
            assert motion in motions_of("test", thing.shape)
            [keys] = thing.keys
            ticks = range(0, DURATION, 40)
            steps = np.diff([position_at(keys, tick) for tick in ticks], axis=0)
            x, y, radius = np.median(steps, axis=0)
            signs = {"left": x < 0, "right": x > 0, "up": y < 0, "down": y > 0}
            signs |= {"grow": radius > 0, "shrink": radius < 0}
            assert signs.get(motion, True)


def test_a_pool_is_what_its_seed_says_whoever_renders_it() -> None:
    options = {"frames": 4, "fps": 4.0, "size": 16}
    here = render_pool("train", 3, 5, **options, workers=0)  # type: ignore[arg-type]
    again = render_pool("train", 3, 5, **options, workers=0)  # type: ignore[arg-type]
    other = render_pool("train", 3, 6, **options, workers=0)  # type: ignore[arg-type]
    assert all(np.array_equal(a, b) for a, b in zip(here, again, strict=True))
    assert not np.array_equal(here[0], other[0])
    assert here[0].shape == (3, 4, 3, 16, 16)


def test_a_mirrored_clip_has_the_mirrored_motion() -> None:
    """A dot that moves right is followed through all eight forms."""
    clip = torch.zeros(1, 4, 3, 8, 8, dtype=torch.uint8)
    for at in range(4):
        clip[0, at, :, 2, 1 + at] = 255
    right = torch.tensor([MOTIONS.index("right")])
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(40):
        [(made, meant)] = batches(clip, right, 1, generator)
        columns = [int(made[0, at, 0].sum(0).argmax()) for at in range(4)]
        assert MOTIONS[int(meant)] == ("right" if columns == sorted(columns) else "left")
        seen.add((MOTIONS[int(meant)], int(made[0, 0, 0].sum(1).argmax())))
    assert len(seen) == 4


def test_a_short_run_writes_what_transformers_reads_alike(tmp_path: Path) -> None:
    run = ActionTraining(str(tmp_path), seconds=2, clips=18, batch=9, held=9, workers=0)
    scores = train(replace(run, size=32))
    assert scores["steps"] >= 1
    assert 0 <= scores["top1"] <= 1
    model = load_action_model(str(tmp_path), device="cpu")
    assert model.labels == tuple(LABELS.values())
    assert (model.fps, model.seconds) == (4.0, 2.0)
    clips = torch.from_numpy(make_action(1, "val").render(0, 8, 4.0, 32))[None]
    theirs = VideoMAEForVideoClassification.from_pretrained(tmp_path, dtype=torch.float32).eval()
    with torch.inference_mode():
        exact = theirs(model.tower.normalise(clips)).logits.softmax(-1)
    torch.testing.assert_close(model.classify(clips), exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("tokens", ["runlength", "random", "merged"])
def test_it_also_learns_from_fewer_tokens(tmp_path: Path, tokens: str) -> None:
    run = ActionTraining(
        str(tmp_path), seconds=1, clips=9, batch=9, held=9, workers=0, size=32, tokens=tokens
    )
    assert train(run)["steps"] >= 1
    assert load_action_model(str(tmp_path), device="cpu").labels == tuple(LABELS.values())


def test_the_gradient_of_packs_is_that_of_all_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every token kept it is the dense step's, however small the packs."""
    run = ActionTraining("", size=32, tokens="random", keep=1.0)
    tower = VideoTower(shape_of(run))
    generator = torch.Generator().manual_seed(0)
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.05, generator=generator)
    clips = torch.randint(0, 256, (5, 8, 3, 32, 32), dtype=torch.uint8, generator=generator)
    motions = torch.tensor([0, 3, 1, 8, 3])
    grads = []
    for options, budget in ((replace(run, tokens="all"), 10**6), (run, 10**6), (run, 130)):
        monkeypatch.setattr("engine.training.action.train.BUDGET", budget)
        tower.zero_grad()
        loss = learn(tower, clips, motions, options, generator)
        grads.append([torch.tensor(loss), *(p.grad.clone() for p in tower.parameters())])
    for dense, whole, packed in zip(*grads, strict=True):
        torch.testing.assert_close(whole, dense, rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(packed, dense, rtol=1e-3, atol=1e-6)


def test_tokens_are_chosen_as_asked() -> None:
    run = ActionTraining("", size=32, tokens="random", keep=0.3)
    config, generator = shape_of(run), torch.Generator().manual_seed(0)
    clips = torch.from_numpy(make_action(1, "val").render(0, 8, 4.0, 32))[None].repeat(
        3, 1, 1, 1, 1
    )
    kept = choose_tokens(clips, config, run, generator)
    assert kept is not None
    assert kept.flatten(1).sum(1).tolist() == [round(0.3 * 64)] * 3
    assert len({tuple(row.tolist()) for row in kept.flatten(1)}) == 3
    runs = choose_tokens(clips, config, replace(run, tokens="runlength"), generator)
    assert runs is not None
    assert runs[:, 0].all()
    assert not runs.all()
    assert choose_tokens(clips, config, replace(run, tokens="all"), generator) is None
    with pytest.raises(
        UsageError, match="unknown tokens 'tome'; allowed: all, merged, random, runlength"
    ):
        replace(run, tokens="tome")
    with pytest.raises(UsageError, match="keep 0; allowed: above 0, at most 1"):
        replace(run, keep=0)


def test_what_ships_names_the_motions_of_coded_clips() -> None:
    """A few clips of a fixed pool; the figures of its card come from a larger one."""
    model = load_action_model(device="cpu")
    assert model.tower.config == replace(shape_of(ActionTraining("")), eps=1e-6)
    report = actions.run(device="cpu", clips=6, seed=3, threshold=-1)
    assert report.rows[0][:2] == ("all", 6)
    assert report.rows[0][2] >= 0.6
    assert report.rows[0][3] < report.rows[0][2] <= report.rows[0][4]
    assert "100.0% of the tokens kept" in report.notes[1]
