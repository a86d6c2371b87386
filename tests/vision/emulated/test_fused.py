"""The emulated baselines as graphs, against their steps in plain PyTorch."""

import pytest
import torch

from engine.vision.backbone.tower import VisionConfig
from engine.vision.emulated.fused import FusedEmulated
from engine.vision.emulated.rules import ChangeRule, Farther, Farthest
from engine.vision.emulated.stepper import Emulated
from engine.vision.registry import build_strategy
from engine.vision.streaming.sequential import Sequential
from engine.vision.streaming.strategy import Chunk, StreamState
from tests.vision.fused.test_dense import BIG, TOLERANCE, distance, make_tower
from tests.vision.fused.test_lanes import make_streams

SMALL = VisionConfig(3, 16, 1, 32, 4, 12, 8)  # 10 tokens
RULES = [Farthest(3, 9), Farther(1.0)]


@pytest.mark.parametrize("rule", RULES)
def test_small_tower_computes_what_the_plain_path_does(rule: ChangeRule) -> None:
    tower, streams = make_tower(SMALL), make_streams(SMALL, (3, 2))
    plain = Sequential(Emulated(tower, rule), "emulated")
    fused = Sequential(FusedEmulated(tower, rule, 2), "emulated")
    chunks = [Chunk(each, last=True) for each in streams]
    for ours, theirs in zip(fused.encode(chunks), plain.encode(chunks), strict=True):
        assert torch.equal(ours.computed, theirs.computed)
        assert 1 < ours.computed[1:, 1:].float().mean() < 10
        assert distance(ours.embeddings, theirs.embeddings) <= 1e-5
        assert torch.equal(ours.macs, theirs.macs)


def test_a_stream_goes_on_from_its_references() -> None:
    tower, [frames] = make_tower(SMALL), make_streams(SMALL, (3,))
    fused = Sequential(FusedEmulated(tower, RULES[0], 1), "emulated")
    [whole] = fused.encode([Chunk(frames, last=True)])
    state: StreamState | None = None
    for at, frame in enumerate(frames):
        [part] = fused.encode([Chunk(frame[None], state)])
        assert distance(part.embeddings[0], whole.embeddings[at]) <= 1e-5
        state = part.state
    [dense] = fused.with_scale(0.0).encode([Chunk(frames[:2], last=True)])
    assert distance(dense.embeddings, tower(tower.normalise(frames[:2]))) <= 1e-5


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("name", "options"), [("cmc_emulated", {"threshold": 60.0}), ("eventful_emulated", {"k": 60})]
)
def test_a_tower_on_a_gpu_computes_what_the_plain_path_does(
    name: str, options: dict[str, float]
) -> None:
    tower, streams = make_tower(BIG, device="cuda"), make_streams(BIG, (5, 4, 3), "cuda")
    fused = build_strategy(name, tower, options=options)
    assert isinstance(fused, Sequential)
    assert isinstance(fused.stepper, FusedEmulated)
    plain = Sequential(Emulated(tower, fused.stepper.rule), name)
    chunks = [Chunk(each, last=True) for each in streams]
    for ours, theirs in zip(fused.encode(chunks), plain.encode(chunks), strict=True):
        # tokens that moved nearly as far as others, or as the threshold, fall on either side
        assert (ours.computed - theirs.computed).abs().float().mean() <= 2
        assert distance(ours.embeddings, theirs.embeddings) <= 3 * TOLERANCE
    [dense] = fused.with_scale(0.0).encode(chunks[:1])
    exact = tower(tower.normalise(streams[0]))
    assert distance(dense.embeddings, exact) <= TOLERANCE
