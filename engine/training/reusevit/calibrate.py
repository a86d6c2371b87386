"""A start for the modules: one similarity threshold at the wanted rate, and no corrections."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from engine.training.reusevit.clips import ClipBatch
from engine.training.reusevit.pattern import Pattern
from engine.training.reusevit.soft import encode_clips
from engine.vision.backbone.tower import VisionTower
from engine.vision.reusevit.decision import Decision
from engine.vision.reusevit.gating import hard
from engine.vision.reusevit.modules import ReuseModules

MARGIN = 3.0  # logit of a token as similar as the median one
REACH = 6.0  # logits below the threshold down to which similarity is told apart
SEARCH = 9  # halvings of the range in which the threshold is looked for
SPAN = 8.0  # logits up or down by which trained modules are moved at most


@torch.no_grad()
def calibrate(
    tower: VisionTower, modules: ReuseModules, batch: ClipBatch, pattern: Pattern, target: float
) -> None:
    """Find the threshold by halving: what is reused makes later layers more similar.

    The published start, all weights near zero and random corrections, first has to unlearn its
    corrections, and takes thousands of steps to tell similarities within hundredths of 1 apart.
    """
    modules.eval()
    values = tower.normalise(batch.pixels.flatten(0, 1)).unflatten(0, batch.pixels.shape[:2])
    gates = [modules.gate(index) for index in range(len(modules.gates))]
    for gate in gates:
        gate.restoration.up.zero_()
    seen: list[list[Tensor]] = [[] for _ in gates]
    hooks = [
        gate.decision.net.register_forward_pre_hook(_keep(kept))
        for gate, kept in zip(gates, seen, strict=True)
    ]
    low, high = math.log(1e-5), math.log(2.0)  # of 1 - cosine that is still reused
    for _ in range(SEARCH):
        middle = (low + high) / 2
        for gate, kept in zip(gates, seen, strict=True):
            kept.clear()
            _threshold(gate.decision, 1 - math.exp(middle), slope=100.0)
        result = encode_clips(tower, modules, values, None, pattern, lambda _gate, _slot: hard)
        rate = float(result.shares[:, -pattern.num_scored :].mean())
        low, high = (middle, high) if rate < target else (low, middle)
    for hook in hooks:
        hook.remove()
    for gate, kept in zip(gates, seen, strict=True):
        features = torch.cat(kept)
        threshold = 1 - math.exp(high)
        gap = max(float(features[:, 1].median()) - threshold, 1e-6)
        _spread(gate.decision, features)
        _threshold(gate.decision, threshold, slope=min(max(MARGIN / gap, 20.0), 300.0))


@torch.no_grad()
def shift(
    tower: VisionTower, modules: ReuseModules, batch: ClipBatch, pattern: Pattern, target: float
) -> None:
    """Move the decisions of trained modules to another rate: one number more on every logit."""
    modules.eval()
    values = tower.normalise(batch.pixels.flatten(0, 1)).unflatten(0, batch.pixels.shape[:2])
    cues: Tensor | None = None
    if batch.maps is not None:
        cues = modules.cue(batch.maps.flatten(0, 1)).unflatten(0, batch.maps.shape[:2])
    biases = [_last(modules.gate(index).decision) for index in range(len(modules.gates))]
    begun = [bias.clone() for bias in biases]
    low, high = -SPAN, SPAN
    for _ in range(SEARCH):
        middle = (low + high) / 2
        for bias, first in zip(biases, begun, strict=True):
            bias.copy_(first + middle)
        result = encode_clips(tower, modules, values, cues, pattern, lambda _gate, _slot: hard)
        rate = float(result.shares[:, -pattern.num_scored :].mean())
        low, high = (middle, high) if rate < target else (low, middle)
    for bias, first in zip(biases, begun, strict=True):
        bias.copy_(first + high)


def _last(decision: Decision) -> Tensor:
    """The bias of the logit of reuse."""
    linear = [module for module in decision.net if isinstance(module, nn.Linear)]
    return linear[-1].bias.data[0]


def _keep(kept: list[Tensor]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        kept.append(inputs[0].detach().float())

    return hook


def _spread(decision: Decision, features: Tensor) -> None:
    """Draw directions at the features' scales; each unit bends at a feature that was seen."""
    first = decision.net[0]
    assert isinstance(first, nn.Linear)
    units = first.out_features
    scale = features.std(0).clamp(min=1e-2)
    scale[2:] = 1.0  # cues and kinds
    weight = torch.randn_like(first.weight) / scale / features.shape[1] ** 0.5
    at = features[torch.randint(len(features), (units,), device=features.device)]
    first.weight.copy_(weight)
    first.bias.copy_(-(weight * at).sum(1))


def _threshold(decision: Decision, threshold: float, *, slope: float) -> None:
    """Let half of the units carry `slope (similarity - threshold)` through to the logit of reuse.

    Many, so that dropout takes a little from all tokens and not everything from some. The other
    units do not count yet.
    """
    linear = [module for module in decision.net if isinstance(module, nn.Linear)]
    count = linear[0].out_features // 2
    reach = torch.linspace(1.0, REACH, count, device=linear[0].weight.device)
    linear[0].weight[:count] = 0.0
    linear[0].weight[:count, 1] = slope
    linear[0].bias[:count] = reach - slope * threshold
    for between in linear[1:-1]:
        between.weight[:count] = torch.eye(count, between.in_features, device=reach.device)
        between.bias[:count] = 0.0
    linear[-1].weight.zero_()
    linear[-1].weight[0, :count] = 1.0 / count
    linear[-1].bias[0] = -reach.mean()
