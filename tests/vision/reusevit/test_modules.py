"""Decision, restoration, codec net and cue maps, each by itself."""

from typing import Any

import pytest
import torch

from engine.errors import UsageError
from engine.vision.backbone.importance import attend, class_importance
from engine.vision.reusevit.codec import CodecNet
from engine.vision.reusevit.cue import codec_cues, no_history, pixel_cues, windows
from engine.vision.reusevit.decision import Decision
from engine.vision.reusevit.gating import hard, straight
from engine.vision.reusevit.modules import ReuseConfig
from engine.vision.reusevit.restoration import Restoration
from engine.vision.reusevit.similarity import nearest
from kernels.restore import restore
from kernels.select import decide


def test_published_sizes() -> None:
    assert sum(p.numel() for p in Decision("ldrl", 160).parameters()) == 1442
    assert sum(p.numel() for p in Restoration(768).parameters()) == 512 * 768
    assert sum(p.numel() for p in CodecNet().parameters()) == 25_441


@pytest.mark.parametrize("spelling", ["ldrl", "lbrlbrl", "lrl"])
def test_folded_decision_equals_the_module(spelling: str) -> None:
    torch.manual_seed(0)
    decision = Decision(spelling, 12)
    for parameter in decision.parameters():
        torch.nn.init.normal_(parameter)
    decision.train()
    kind = torch.tensor([0.0, 0.0, 1.0])
    for _ in range(3):  # running statistics of BatchNorm
        decision(*torch.rand(3, 4, 9), kind)
    decision.eval()
    features = torch.rand(3, 4, 9)
    logits = decision(*features, kind)
    margin = decide(*features, 2, decision.folded())
    torch.testing.assert_close(margin, logits[..., 0] - logits[..., 1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("spelling", ["", "rl", "lLl", "lr"])
def test_unknown_spellings_are_refused(spelling: str) -> None:
    with pytest.raises(UsageError, match="letters"):
        Decision(spelling)


@pytest.mark.parametrize("setting", [{"chain": "publishd"}, {"cue": "pixel"}])
def test_unknown_settings_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="nearest"):
        ReuseConfig(**setting)


@torch.inference_mode()
def test_restoration_equals_the_kernel() -> None:
    module = Restoration(24, 8)
    mixed, states = torch.randn(2, 5, 24), torch.randn(2, 5, 96)
    expected = states[0] + module(mixed[1] - mixed[0])
    sources = torch.arange(5, dtype=torch.int32)[None]
    restore(states, mixed, sources, sources, torch.arange(5, 10), module.down, module.up)
    torch.testing.assert_close(states[1], expected, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_class_importance_is_the_attention_that_tokens_receive(small: Any) -> None:
    layer = small.tower().layer(0)
    qkv = torch.randn(2, 17, 96)
    mixed, weights = layer.attend_weighted(qkv)
    ours, importance = attend(layer, qkv, class_token=True)
    torch.testing.assert_close(importance, weights[:, :, 0].sum(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours, mixed, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(importance.sum(1), torch.full((2,), 4.0))
    assert class_importance(qkv[:1, 0, :32], qkv[:1, :, 32:64], 4).shape == (1, 17)


@pytest.mark.parametrize("side", [1, 4, 7, 14, 16])
def test_the_codec_net_keeps_any_side(side: int) -> None:
    net = CodecNet().eval()
    values = net(torch.rand(2, 4, 4, side, side))
    assert values.shape == (2, side * side)
    assert values.abs().max() <= 1


def test_pixel_cues_see_what_changed() -> None:
    frames = torch.full((3, 3, 32, 32), 100, dtype=torch.uint8)
    frames[1:, :, 8:16, 16:24] = 200
    maps = pixel_cues(frames, frames[0], 8)
    assert maps.shape == (3, 4, 4, 4)
    assert maps[0, :3].abs().sum() == 0
    assert maps[1, 0].nonzero().tolist() == [[1, 2]]
    assert maps[1, 2, 1, 2] == 1
    assert maps[2, :3].abs().sum() == 0


def test_windows_end_with_their_frame_and_begin_with_nothing() -> None:
    maps = torch.arange(1.0, 6.0)[:, None, None, None].expand(5, 4, 2, 2)
    found = windows(no_history(2, maps.device), maps)
    assert found.shape == (5, 4, 4, 2, 2)
    assert found[0, 0, :, 0, 0].tolist() == [0, 0, 0, 1]
    assert found[4, 0, :, 0, 0].tolist() == [2, 3, 4, 5]
    later = windows(maps[:3], maps[3:])
    assert torch.equal(later, found[3:])


def test_codec_cues_are_scaled() -> None:
    raw = torch.tensor([8.0, -2.0, 0.5, 51.0])[None, :, None, None]
    assert codec_cues(raw).flatten().tolist() == [1.0, 2.0, 0.5, 1.0]


def test_unit_vectors_of_zero_rows_are_zero() -> None:
    own = torch.zeros(1, 2, 8)
    own[0, 1] = torch.arange(8.0)
    similarity, which = nearest(own, [own, own])
    assert similarity[0].tolist() == pytest.approx([0.0, 1.0])
    assert which.sum() == 0  # the first wins ties


def test_straight_shares_are_served_ones_with_a_wide_gradient() -> None:
    logits = torch.tensor([[-1.0, 0.0], [0.5, 0.0], [3.0, 0.5]], requires_grad=True)
    shares = straight(0.0)(logits)
    assert torch.equal(shares, hard(logits))
    (gradient,) = torch.autograd.grad(shares.sum(), logits)
    chance = (logits[:, 0] - logits[:, 1]).sigmoid()
    torch.testing.assert_close(gradient[:, 0], chance * (1 - chance))
    drawn = straight(1.0)(torch.zeros(4000, 2))
    assert 0.4 < drawn.mean() < 0.6
