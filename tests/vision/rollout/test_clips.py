"""ViViT's factorised encoder against a plain definition, dense and pruned by rollouts."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.vision.backbone.factorised import (
    FactorisedConfig,
    FactorisedTower,
    spatial_shape,
)
from engine.vision.backbone.macs import dense_macs
from engine.vision.rollout.clips import ClipPruning, RolledClips
from tests.vision.fused.test_dense import distance

SHAPE = FactorisedConfig(spatial_shape(3, 32, 2, 64, 8, 2, 40), 8, 2, 5)


def tower() -> FactorisedTower:
    made = FactorisedTower(SHAPE)
    generator = torch.Generator().manual_seed(4)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.15, generator=generator)
    return made.requires_grad_(False).eval()


def clips(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    size = (count, 8, 3, 40, 40)
    return torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)


def define(made: FactorisedTower, clip: Tensor) -> Tensor:
    """Scores of one clip as the paper writes them down, by names of tensors alone."""
    state = made.state_dict()
    values = (clip.double() / 255 - 0.45) / 0.225
    kernel = state["spatial.patch.weight"].double().view(32, 3, 2, 8, 8)
    bias = state["spatial.patch.bias"].double()
    tubelets = F.conv3d(values.transpose(0, 1)[None], kernel, bias, stride=(2, 8, 8))[0]
    told = [_encode(state, "spatial", each.flatten(1).T) for each in tubelets.unbind(1)]
    joined = _encode(state, "temporal", torch.stack(told))
    return state["head.weight"].double() @ joined + state["head.bias"].double()


def _encode(state: dict[str, Tensor], half: str, tokens: Tensor) -> Tensor:
    part = {
        name.removeprefix(f"{half}."): tensor.double()
        for name, tensor in state.items()
        if name.startswith(f"{half}.")
    }
    h = torch.cat([part["class_token"][None], tokens]) + part["position"]
    for index in range(sum(name.endswith("qkv.weight") for name in part)):
        own = {
            name.removeprefix(f"layers.{index}."): tensor
            for name, tensor in part.items()
            if name.startswith(f"layers.{index}.")
        }
        normed = F.layer_norm(h, (32,), own["norm1.weight"], own["norm1.bias"], 1e-6)
        q, k, v = (normed @ own["qkv.weight"].T + own["qkv.bias"]).split(32, 1)
        heads = []
        for head in range(2):
            at = slice(16 * head, 16 * head + 16)
            heads.append((q[:, at] @ k[:, at].T / math.sqrt(16)).softmax(1) @ v[:, at])
        h = h + torch.cat(heads, 1) @ own["out.weight"].T + own["out.bias"]
        normed = F.layer_norm(h, (32,), own["norm2.weight"], own["norm2.bias"], 1e-6)
        wide = F.gelu(normed @ own["up.weight"].T + own["up.bias"])
        h = h + wide @ own["down.weight"].T + own["down.bias"]
    return F.layer_norm(h[0], (32,), part["post.weight"], part["post.bias"], 1e-6)


def test_the_forward_is_its_definition() -> None:
    made, pool = tower(), clips(3)
    expected = torch.stack([define(made, clip) for clip in pool])
    assert distance(made(made.normalise(pool)), expected) <= 1e-5


def test_all_kept_is_dense_and_fewer_cost_less() -> None:
    made, pool = tower(), clips(2)
    every = RolledClips(made, ClipPruning(1.0, 0, "full"))
    dense = made(made.normalise(pool))
    torch.testing.assert_close(every.score(pool), dense, rtol=1e-4, atol=1e-4)
    macs = every.macs
    # rollouts, tracking and what layer 0 does of all tokens come on top
    assert macs >= 4 * dense_macs(SHAPE.spatial)
    costs = []
    for keep in (0.8, 0.4, 0.1):
        pruned = RolledClips(made, ClipPruning(keep, 2, "1in2"))
        features = pruned.features(pool)
        assert features.shape == (2, 4, 32)
        torch.testing.assert_close(features[:, 0], every.features(pool)[:, 0])
        costs.append(pruned.macs)
    assert costs == sorted(costs, reverse=True)
    assert RolledClips(made).score(pool[:0]).shape == (0, 5)


def test_a_clip_is_the_same_alone_and_among_others() -> None:
    made, pool = tower(), clips(3)
    runs = RolledClips(made, ClipPruning(0.4, 2))
    alone = torch.cat([runs.score(clip[None]) for clip in pool])
    torch.testing.assert_close(runs.score(pool), alone, rtol=1e-4, atol=1e-5)
