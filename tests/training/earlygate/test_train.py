"""Training of the gate: what is trained is what is served, and training helps."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.errors import ModelError, UsageError
from engine.training.earlygate.soft import SoftLimits, bridge_soft, clip_slots, encode_soft
from engine.training.earlygate.train import GateTraining, train_gate
from engine.training.reusevit.frames import StoredFrames
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.earlygate.bridge import Bridge
from engine.vision.earlygate.file import GateCard, GateFile, load_gate, save_gate
from engine.vision.earlygate.learned import LearnedLimits
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.earlygate.strategy import EarlyGate
from engine.vision.streaming.cuts import sketch
from engine.vision.streaming.dense import Dense
from engine.vision.streaming.refresh import Refresh
from engine.vision.streaming.strategy import Chunk

CONFIG = VisionConfig(layers=4, width=32, heads=2, mlp=64, patch=8, image_size=32, dimension=16)


def make_tower() -> VisionTower:
    torch.manual_seed(0)
    tower = VisionTower(CONFIG).eval().requires_grad_(False)
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return tower


def make_clips(clips: int, frames: int) -> Tensor:
    torch.manual_seed(1)
    clip = torch.randint(0, 256, (clips, 1, 3, 32, 32)).repeat(1, frames, 1, 1, 1).float()
    for frame in range(1, frames):
        strength = torch.rand(clips, 1, 4, 4) ** 4
        strength = strength.repeat_interleave(8, 2).repeat_interleave(8, 3)
        fresh = torch.randint(0, 256, (clips, 3, 32, 32))
        clip[:, frame] = clip[:, frame - 1] * (1 - strength) + fresh * strength
    return clip.round().to(torch.uint8)


@pytest.mark.parametrize("gates", [(1,), (1, 3), (1, 2, 3)])
def test_what_is_trained_is_what_is_served(gates: tuple[int, ...]) -> None:
    tower, clips = make_tower(), make_clips(3, 9)
    limits = SoftLimits(CONFIG.layers, CONFIG.width, 8, 0.15, gates)
    torch.nn.init.normal_(limits.weight, std=0.05)
    torch.nn.init.normal_(limits.bias, std=0.3)
    slots = clip_slots(2)
    values = tower.normalise(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])
    soft = encode_soft(tower, limits, values, slots, torch.tensor(0.1))
    gate = EarlyGate(tower, limits.hard(), Refresh(cut=1.0))
    hard = gate.encode([Chunk(clip, last=True) for clip in clips])
    order = [slot.frame for slot in slots]
    for at, encoded in enumerate(hard):
        served = encoded.embeddings[order]
        torch.testing.assert_close(soft.embeddings[at], served, rtol=1e-3, atol=1e-4)
        share = encoded.computed[order][1:, 1:] / CONFIG.tokens
        torch.testing.assert_close(soft.active[at].detach(), share, rtol=0, atol=1e-5)
    assert 0.1 < float(soft.active.detach().mean()) < 0.9


def test_frames_are_bridged_in_training_as_they_are_served() -> None:
    tower, clips = make_tower(), make_clips(3, 9)
    limits = SoftLimits(CONFIG.layers, CONFIG.width, 8, 1e-6)  # all computed: nobody is followed
    slots, bridge = clip_slots(2), Bridge(0.05, 0.5)
    values = tower.normalise(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])
    soft = encode_soft(tower, limits, values, slots, torch.tensor(0.1))
    sketches = sketch(clips.flatten(0, 1), CONFIG.patch).unflatten(0, clips.shape[:2])
    soft = bridge_soft(bridge, soft, slots, sketches)
    gate = EarlyGate(tower, limits.hard(), Refresh(cut=1.0), bridge=bridge)
    order = [slot.frame for slot in slots]
    for at, encoded in enumerate(gate.encode([Chunk(clip, last=True) for clip in clips])):
        served = encoded.embeddings[order]
        torch.testing.assert_close(soft.embeddings[at], served, rtol=1e-3, atol=1e-4)
        share = encoded.computed[order][1:, 1:] / CONFIG.tokens
        torch.testing.assert_close(soft.active[at].detach(), share, rtol=0, atol=1e-5)
    assert 0.1 < float(soft.active.detach().mean()) < 0.9


def test_gradients_reach_every_part() -> None:
    tower, clips = make_tower(), make_clips(2, 5)
    limits = SoftLimits(CONFIG.layers, CONFIG.width, 8, 0.15)
    values = tower.normalise(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])
    result = encode_soft(tower, limits, values, clip_slots(1), torch.tensor(0.3))
    (result.embeddings.sum() + result.active.sum()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in limits.parameters())


def test_training_lowers_what_drift_and_computation_cost(tmp_path: Path) -> None:
    tower, clips = make_tower(), make_clips(16, 9)
    config = GateTraining(steps=30, batch=8, groups=2, compared=8, threshold=0.02, rate=0.02)
    limits = train_gate(tower, config, StoredFrames(clips), tmp_path / "log.csv")
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 4
    assert limits.projection.shape == (3, 8, 32)
    [dense] = Dense(tower).encode([Chunk(clips.flatten(0, 1), last=True)])

    def cost(limits: FixedLimits | LearnedLimits) -> float:
        gate = EarlyGate(tower, limits, Refresh(cut=1.0))
        encoded = gate.encode([Chunk(clip, last=True) for clip in clips])
        vectors = torch.cat([each.embeddings for each in encoded])
        drift = 1 - torch.cosine_similarity(vectors, dense.embeddings)
        share = torch.cat([each.computed for each in encoded])[:, 1:] / CONFIG.tokens
        return float(drift.mean() + config.price * share.mean())

    assert cost(limits) < 0.8 * cost(FixedLimits.uniform(CONFIG, 0.02))
    with pytest.raises(UsageError, match="steps"):
        GateTraining(steps=0)


def test_limits_survive_their_file(tmp_path: Path) -> None:
    learned = SoftLimits(CONFIG.layers, CONFIG.width, 8, 0.15).hard()
    card = GateCard("tiny", "abc", 0.02, Refresh(0.3, 1.5), Bridge(0.03, 0.4), {"drift": 0.01})
    path = tmp_path / "gate.safetensors"
    save_gate(path, GateFile(learned, card))
    loaded = load_gate(path, CONFIG, weight_hash="abc")
    assert loaded.card == card
    assert isinstance(loaded.limits, LearnedLimits)
    assert torch.equal(loaded.limits.projection, learned.projection)
    assert loaded.limits.base.thresholds == pytest.approx(learned.base.thresholds)
    save_gate(path, GateFile(FixedLimits((0.1, 0.2, 0.3), 2.0), card))
    assert load_gate(path, CONFIG, weight_hash="abc").limits == FixedLimits(
        tuple(torch.tensor([0.2, 0.4, 0.6]).tolist())
    )
    with pytest.raises(ModelError, match="limits made for tiny"):
        load_gate(path, CONFIG, weight_hash="other")
    said = {"format": "dejavu-earlygate-1", "backbone": "tiny", "weight_hash": "abc"}
    said |= {"max_drift": 0.02, "cut": 0.3, "budget": 0.0, "report": {}}
    save_file({"thresholds": torch.ones(3)}, path, {"card": json.dumps(said)})
    assert load_gate(path, CONFIG, weight_hash="abc").card.bridge == Bridge()  # none, as before
    save_file({"thresholds": torch.ones(3)}, path, {"card": json.dumps({"format": "other"})})
    with pytest.raises(ModelError, match="format 'other'; allowed: dejavu-earlygate-1, "):
        load_gate(path, CONFIG, weight_hash="abc")
    path.write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="no file of gate limits"):
        load_gate(path, CONFIG, weight_hash="abc")
