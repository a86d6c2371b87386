"""Eventful's gates as graphs, against their steps in plain PyTorch."""

import pytest
import torch

from engine.vision.backbone.tower import VisionConfig
from engine.vision.eventful.fused import FusedEventful
from engine.vision.eventful.stepper import Eventful
from engine.vision.registry import build_strategy
from engine.vision.streaming.sequential import Sequential
from engine.vision.streaming.strategy import Chunk, StreamState
from tests.vision.fused.test_dense import BIG, TOLERANCE, distance, make_tower
from tests.vision.fused.test_lanes import make_streams

SMALL = VisionConfig(2, 16, 1, 32, 4, 12, 8)  # 10 tokens


@pytest.mark.parametrize("keep_class", [True, False])
def test_small_tower_passes_what_the_plain_path_does(keep_class: bool) -> None:
    tower, streams = make_tower(SMALL), make_streams(SMALL, (3, 1))
    plain = Sequential(Eventful(tower, 3, products=False, keep_class=keep_class), "eventful")
    fused = Sequential(FusedEventful(tower, 3, 2, keep_class=keep_class), "eventful", 0)
    chunks = [Chunk(each, last=True) for each in streams]
    for ours, theirs in zip(fused.encode(chunks), plain.encode(chunks), strict=True):
        assert distance(ours.embeddings, theirs.embeddings) <= 1e-5
        assert torch.equal(ours.computed, theirs.computed)
        assert torch.equal(ours.macs, theirs.macs)
        assert torch.equal(ours.full, theirs.full)


def test_a_stream_goes_on_from_its_buffers() -> None:
    tower, [frames] = make_tower(SMALL), make_streams(SMALL, (2,))
    fused = Sequential(FusedEventful(tower, 3, 1), "eventful")
    [whole] = fused.encode([Chunk(frames, last=True)])
    state: StreamState | None = None
    for at, frame in enumerate(frames):
        [part] = fused.encode([Chunk(frame[None], state)])
        assert distance(part.embeddings[0], whole.embeddings[at]) <= 1e-5
        state = part.state
    [dense] = fused.with_scale(0.0).encode([Chunk(frames, last=True)])
    assert distance(dense.embeddings, tower(tower.normalise(frames))) <= 1e-5


@pytest.mark.gpu
def test_a_tower_on_a_gpu_passes_what_the_plain_path_does() -> None:
    tower, streams = make_tower(BIG, device="cuda"), make_streams(BIG, (5, 4, 3), "cuda")
    fused = build_strategy("eventful", tower, options={"r": 60, "products": False})
    assert isinstance(fused, Sequential)
    assert isinstance(fused.stepper, FusedEventful)
    plain = Sequential(Eventful(tower, 60, products=False), "eventful")
    chunks = [Chunk(each, last=True) for each in streams]
    for ours, theirs in zip(fused.encode(chunks), plain.encode(chunks), strict=True):
        # tokens that moved nearly as far as others may pass in their place
        assert distance(ours.embeddings, theirs.embeddings) <= 3 * TOLERANCE
    [dense] = fused.with_scale(0.0).encode(chunks[:1])
    exact = tower(tower.normalise(streams[0]))
    assert distance(dense.embeddings, exact) <= TOLERANCE
