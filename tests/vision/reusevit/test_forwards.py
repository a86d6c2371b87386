"""The compacted forward equals the one that computes everything, and both their limits hold."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.training.reusevit.pattern import FAR, MID, NEAR, PATTERNS, Pattern
from engine.training.reusevit.soft import encode_clips
from engine.vision.backbone.tower import VisionTower
from engine.vision.reusevit.gating import CHAINS, Chain, hard
from engine.vision.reusevit.strategy import ReuseViT
from engine.vision.streaming.schedule import Schedule
from engine.vision.streaming.strategy import Chunk

# a full frame and two groups, as they are served
SERVED = Pattern(
    (0, 4, 2, 1, 3, 8, 6, 5, 7),
    ((), (0,), (0, 1), (0, 2), (2, 1), (1,), (1, 5), (1, 6), (6, 5)),
    (FAR, FAR, MID, NEAR, NEAR, FAR, MID, NEAR, NEAR),
)


def soft_values(tower: VisionTower, frames: Tensor, pattern: Pattern = SERVED) -> Tensor:
    values = tower.normalise(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
    return values[:, list(pattern.offsets)]


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("class_token", [True, False])
@torch.inference_mode()
def test_compacted_equals_uncompacted(chain: Chain, class_token: bool, small: Any) -> None:
    config = small.config(class_token=class_token)
    tower, modules = small.tower(config), small.modules(config, chain=chain, cue="none")
    frames = small.frames(3, 9)
    plain = encode_clips(
        tower, modules, soft_values(tower, frames), None, SERVED, lambda _gate, _slot: hard
    )
    packed = ReuseViT(tower, modules).encode([Chunk(each, last=True) for each in frames])
    order = torch.tensor(SERVED.offsets)
    for stream, encoded in enumerate(packed):
        torch.testing.assert_close(
            encoded.embeddings[order], plain.embeddings[stream], rtol=1e-4, atol=1e-4
        )
        reused = plain.shares[stream].sum(-1)  # [F, L - 1]
        assert torch.equal(config.tokens - encoded.computed[order, 1:], reused.int())
    assert 0.1 < plain.shares[:, 1:].mean() < 0.9
    assert plain.shares[:, 1:].std() > 0.2


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 1.0])
@torch.inference_mode()
def test_compacted_equals_uncompacted_for_imposed_decisions(
    chain: Chain, share: float, small: Any
) -> None:
    tower = small.tower()
    modules = small.modules(tower.config, chain=chain, cue="none")
    frames, patches = small.frames(2, 9), tower.config.tokens - 1
    generator = torch.Generator().manual_seed(3)
    masks = torch.rand(3, 9, 2, patches, generator=generator) < share  # gate, slot, stream
    masks[:, 0] = False

    def policy(gate: int, slot: int) -> Callable[[Tensor], Tensor]:
        full = torch.nn.functional.pad(masks[gate, slot].float(), (1, 0))
        return lambda _logits: full

    steps = iter([slice(0, 1), slice(1, 5), slice(5, 9)])
    at = [next(steps)]

    def forced(gate: int, _frames: int) -> Tensor:
        if gate == 0:
            at[0] = next(steps)
        return masks[gate, at[0]].flatten(0, 1)

    plain = encode_clips(tower, modules, soft_values(tower, frames), None, SERVED, policy)
    strategy = ReuseViT(tower, modules, forced=forced)
    packed = strategy.encode([Chunk(each, last=True) for each in frames])
    order = torch.tensor(SERVED.offsets)
    for stream, encoded in enumerate(packed):
        torch.testing.assert_close(
            encoded.embeddings[order], plain.embeddings[stream], rtol=1e-4, atol=1e-4
        )
        computed = (~masks[:, :, stream]).sum(-1).T + 1  # [F, L - 1], rows really computed
        assert torch.equal(encoded.computed[order, 1:], computed.int())


@pytest.mark.parametrize("class_token", [True, False])
@torch.inference_mode()
def test_nothing_reused_is_dense(class_token: bool, small: Any) -> None:
    config = small.config(class_token=class_token)
    tower, modules = small.tower(config), small.modules(config)
    frames = small.frames(2, 6)
    for stream, encoded in enumerate(
        ReuseViT(tower, modules, bias=-math.inf).encode([Chunk(each, last=True) for each in frames])
    ):
        dense = tower(tower.normalise(frames[stream]))
        torch.testing.assert_close(encoded.embeddings, dense, rtol=1e-5, atol=1e-5)
        assert (encoded.computed == config.tokens).all()


@torch.inference_mode()
def test_parts_without_corrections_take_what_their_references_have(small: Any) -> None:
    tower = small.tower()
    frames = small.frames(2, 9)
    found = []
    for narrow in (0, 8):
        modules = small.modules(cue="none", narrow=narrow)
        for index in range(3):
            modules.gate(index).decision.load_state_dict(
                small.modules(cue="none").gate(index).decision.state_dict()
            )
            torch.nn.init.zeros_(modules.gate(index).restoration.up)
        (encoded,) = ReuseViT(tower, modules).encode([Chunk(frames[0], last=True)])
        found.append(encoded)
    assert torch.equal(found[0].embeddings, found[1].embeddings)
    reused = (17 - found[0].computed[:, 1:]).sum().item()
    assert (found[1].macs - found[0].macs).sum().item() == reused * 2 * 4 * 8 * 32


@torch.inference_mode()
def test_a_single_frame_is_dense(small: Any) -> None:
    tower = small.tower()
    (frame,) = small.frames(1, 1)
    (encoded,) = ReuseViT(tower, small.modules(tower.config)).encode([Chunk(frame, last=True)])
    torch.testing.assert_close(encoded.embeddings, tower(tower.normalise(frame)))
    assert encoded.full.all()


@pytest.mark.parametrize("chain", CHAINS)
@torch.inference_mode()
def test_a_still_video_equals_its_first_frame(chain: Chain, small: Any) -> None:
    tower = small.tower()
    frames = small.frames(1, 1).repeat(1, 11, 1, 1, 1)[0]
    modules = small.modules(tower.config, chain=chain)
    (encoded,) = ReuseViT(tower, modules, bias=math.inf).encode([Chunk(frames, last=True)])
    expected = encoded.embeddings[:1].expand_as(encoded.embeddings)
    torch.testing.assert_close(encoded.embeddings, expected, rtol=1e-5, atol=1e-5)
    assert (encoded.computed[1:, 1:] == 1).all()  # the class token alone


@torch.inference_mode()
def test_shares_forced_to_zero_are_the_teacher(small: Any) -> None:
    tower = small.tower()
    frames, pattern = small.frames(2, 13), PATTERNS["chain"]
    values = soft_values(tower, frames, pattern)
    result = encode_clips(
        tower, small.modules(tower.config), values, None, pattern, lambda _gate, _slot: _nothing
    )
    dense = tower(values.flatten(0, 1)).unflatten(0, values.shape[:2])
    torch.testing.assert_close(result.embeddings, dense, rtol=1e-5, atol=1e-5)
    assert result.shares.sum() == 0


@torch.inference_mode()
def test_the_class_token_is_never_reused(small: Any) -> None:
    tower = small.tower()
    pattern = PATTERNS["chain"]
    values = soft_values(tower, small.frames(1, 13), pattern)
    result = encode_clips(
        tower, small.modules(tower.config), values, None, pattern, lambda _gate, _slot: _everything
    )
    tokens = tower.config.tokens
    assert (result.shares[:, :, :, 0] == 0).all()
    assert result.shares[:, 1:].mean().item() == pytest.approx((tokens - 1) / tokens)


@torch.inference_mode()
def test_slots_see_earlier_slots_alone(small: Any) -> None:
    tower = small.tower()
    pattern, modules = PATTERNS["chain"], small.modules(tower.config, cue="none")
    values = soft_values(tower, small.frames(1, 13), pattern)
    first = encode_clips(tower, modules, values, None, pattern, lambda _gate, _slot: hard)
    for slot in range(pattern.num):
        changed = values.clone()
        changed[:, slot] += 1.0
        other = encode_clips(tower, modules, changed, None, pattern, lambda _gate, _slot: hard)
        same = (other.embeddings == first.embeddings).all(-1)[0]
        assert same[:slot].all()
        assert not same[slot]
    assert same[: pattern.num - 1].all()


def test_gradients_reach_the_parts_alone(small: Any) -> None:
    tower = small.tower()
    pattern, modules = PATTERNS["chain"], small.modules(tower.config)
    modules.requires_grad_(True)
    values = soft_values(tower, small.frames(2, 13), pattern)
    cues = modules.cue(torch.rand(12, 4, 4, 4, 4)).unflatten(0, (2, 6))
    # near the threshold, where sampled shares have a gradient
    result = encode_clips(tower, modules, values, cues, pattern, lambda _gate, _slot: _half)
    (full,) = torch.autograd.grad(
        result.embeddings[:, 0].sum() + 0 * result.embeddings.sum(),
        [modules.gate(0).restoration.up],
        retain_graph=True,
    )
    assert full.abs().sum() == 0  # slot 0 does not depend on the modules
    result.embeddings[:, 3:].square().sum().backward()
    assert all(parameter.grad is None for parameter in tower.parameters())
    for name, parameter in modules.named_parameters():
        assert parameter.grad is not None, name
    assert modules.gate(0).decision.net[0].weight.grad.abs().sum() > 0
    assert modules.gate(2).restoration.down.grad.abs().sum() > 0
    assert next(modules.codec.parameters()).grad.abs().sum() > 0


@torch.inference_mode()
def test_a_larger_bias_reuses_more_and_multiplies_less(small: Any) -> None:
    tower = small.tower()
    frames, modules = small.frames(1, 9)[0], small.modules(tower.config)
    rates, macs = [], []
    for bias in (-math.inf, -3.0, 0.0, 3.0, math.inf):
        strategy = ReuseViT(tower, modules, bias=bias)
        (encoded,) = strategy.encode([Chunk(frames, last=True)])
        rates.append(-encoded.computed.sum().item())
        macs.append(encoded.macs.sum().item())
    assert rates == sorted(rates)
    assert rates[0] < rates[-1]
    assert macs[-1] < macs[0]


@torch.inference_mode()
def test_full_frames_come_at_the_refresh_interval(small: Any) -> None:
    tower = small.tower()
    frames = small.frames(1, 12)[0]
    strategy = ReuseViT(tower, small.modules(tower.config), schedule=Schedule(4))
    (encoded,) = strategy.encode([Chunk(frames, last=True)])
    assert encoded.full.nonzero().flatten().tolist() == [0, 5, 10]
    dense = tower(tower.normalise(frames))
    torch.testing.assert_close(
        encoded.embeddings[encoded.full], dense[encoded.full], rtol=1e-5, atol=1e-5
    )


def _nothing(logits: Tensor) -> Tensor:
    return torch.zeros_like(logits[..., 0])


def _everything(logits: Tensor) -> Tensor:
    return torch.ones_like(logits[..., 0])


def _half(logits: Tensor) -> Tensor:
    return (0.01 * (logits[..., 0] - logits[..., 1])).sigmoid()
