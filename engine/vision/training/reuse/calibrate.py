"""A start for the decisions: units that bend where the features of real clips lie."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from engine.vision.reuse.decision import Decision
from engine.vision.reuse.parts import ReuseParts
from engine.vision.reuse.schedule import Pattern
from engine.vision.reuse.soft import encode_clips
from engine.vision.tower import VisionTower
from engine.vision.training.reuse.clips import Batch


@torch.no_grad()
def calibrate(tower: VisionTower, parts: ReuseParts, batch: Batch, pattern: Pattern) -> None:
    """Set each decision's first product from the features of one batch, half of them reused.

    Similarities lie within hundredths of 1 and importances within hundredths of 0, so units of the
    published start, all near zero, take thousands of steps to tell them apart.
    """
    seen: dict[int, list[Tensor]] = {index: [] for index in range(len(parts.gates))}
    hooks = [
        parts.gate(index).decision.net.register_forward_pre_hook(_keep(seen[index]))
        for index in seen
    ]
    values = tower.normalise(batch.pixels.flatten(0, 1)).unflatten(0, batch.pixels.shape[:2])
    cues = None
    if batch.maps is not None:
        cues = parts.cue(batch.maps.flatten(0, 1)).unflatten(0, batch.maps.shape[:2])
    encode_clips(tower, parts, values, cues, pattern, lambda _gate, _slot: _even)
    for hook in hooks:
        hook.remove()
    for index, features in seen.items():
        _spread(parts.gate(index).decision, torch.cat(features))


def _keep(kept: list[Tensor]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        kept.append(inputs[0].detach().float())

    return hook


def _even(logits: Tensor) -> Tensor:
    return (torch.rand_like(logits[..., 0]) < 0.5).float()


def _spread(decision: Decision, features: Tensor) -> None:
    """Draw directions at the features' own scales; each unit bends at a feature that was seen."""
    first = decision.net[0]
    assert isinstance(first, nn.Linear)
    units = first.out_features
    middle = features.median(0).values
    near = (features - middle).abs().median(0).values.clamp(min=1e-4)
    far = features.std(0).clamp(min=1e-4)
    mix = torch.rand(units, 1, device=features.device)
    scale = near ** (1 - mix) * far**mix  # [units, inputs], between the two
    scale[:, 3:] = 1.0
    weight = torch.randn_like(first.weight) / scale / features.shape[1] ** 0.5
    at = features[torch.randint(len(features), (units,), device=features.device)]
    first.weight.copy_(weight)
    first.bias.copy_(-(weight * at).sum(1))
