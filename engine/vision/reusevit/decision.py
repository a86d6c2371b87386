"""The small network that says, token by token, whether to reuse."""

import torch
from torch import Tensor, nn

from engine.errors import UsageError

INPUTS = 6  # importance, similarity, cue, and the reference's kind one-hot
OUTPUTS = 2  # reuse, compute
LETTERS = "lrbd"


class Decision(nn.Module):
    """Linear, ReLU, BatchNorm and dropout as `pattern` spells them, from 6 inputs to 2 logits."""

    def __init__(self, pattern: str = "ldrl", hidden: int = 160) -> None:
        super().__init__()
        if not pattern.endswith("l") or not pattern.startswith("l") or set(pattern) - set(LETTERS):
            raise UsageError(
                f"a decision is spelled with the letters {', '.join(LETTERS)} and starts and ends "
                f"with l, got {pattern!r}"
            )
        count, width = pattern.count("l"), INPUTS
        modules: list[nn.Module] = []
        for letter in pattern:
            if letter == "l":
                count -= 1
                modules.append(nn.Linear(width, hidden if count else OUTPUTS))
                width = hidden
            elif letter == "r":
                modules.append(nn.ReLU())
            elif letter == "b":
                modules.append(nn.BatchNorm1d(width))
            else:
                modules.append(nn.Dropout(0.25))
        self.net = nn.Sequential(*modules)
        for module in self.net:
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.001)
                nn.init.zeros_(module.bias)

    def forward(self, importance: Tensor, similarity: Tensor, cue: Tensor, kind: Tensor) -> Tensor:
        """Logits `[B, N, 2]` of features `[B, N]`; `kind` is the one-hot `[3]` of the slot."""
        features = torch.stack([importance, similarity, cue], -1)
        features = torch.cat([features, kind.expand(*features.shape[:-1], 3)], -1)
        return self.net(features.flatten(0, -2)).view(*importance.shape, OUTPUTS)

    @torch.no_grad()
    def folded(self) -> list[tuple[Tensor, Tensor]]:
        """Float32 weights and biases of the products, ReLU between, BatchNorm folded in."""
        layers: list[tuple[Tensor, Tensor]] = []
        for module in self.net:
            if isinstance(module, nn.Linear):
                layers.append((module.weight.float(), module.bias.float()))
            elif isinstance(module, nn.BatchNorm1d):
                scale, shift = _affine(module)
                weight, bias = layers[-1]
                layers[-1] = (weight * scale[:, None], bias * scale + shift)
        return [(weight.contiguous(), bias.contiguous()) for weight, bias in layers]


def _affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.float() / (norm.running_var.float() + norm.eps).sqrt()
    return scale, norm.bias.float() - norm.running_mean.float() * scale
