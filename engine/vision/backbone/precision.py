"""A tower in eight bits: rows and weights of its large products in e4m3.

Rows behind a LayerNorm are rounded by their own largest value, which the LayerNorm knows. The
MLPs' hidden rows are made in pieces that know nothing of each other: they are divided by a bound
known from the weights. It need not be tight, for e4m3 is a floating format whose relative error is
the same over 15 binades.
"""

import math

import torch
from torch import nn

from engine.vision.backbone.linear8 import Linear8
from engine.vision.backbone.tower import VisionTower
from kernels.eight import LARGEST

CAPABLE = (8, 9)
ROUNDED = 1.25  # more than what rounding adds to a sum of products: (1 + 2^-4)^2


def capable(place: torch.device) -> bool:
    """Whether a device has tensor cores that multiply e4m3."""
    return place.type == "cuda" and torch.cuda.get_device_capability(place) >= CAPABLE


def quantise(tower: VisionTower) -> VisionTower:
    """Turn the products behind LayerNorms and the MLPs' second ones into e4m3, in place.

    The out-projection stays as it is: what attention gives is what reuse decides by. So do the
    patch embedding and the head.
    """
    for index in range(tower.config.layers):
        layer = tower.layer(index)
        assert isinstance(layer.qkv, nn.Linear)
        assert isinstance(layer.up, nn.Linear)
        assert isinstance(layer.down, nn.Linear)
        hidden = unit_for(product_bound(layer.norm2, layer.up))
        layer.qkv, layer.up = Linear8(layer.qkv), Linear8(layer.up)
        layer.down = Linear8(layer.down, hidden)
    return tower


@torch.no_grad()
def product_bound(norm: nn.LayerNorm, linear: nn.Linear) -> float:
    """No value of a product of LayerNorm's rows is larger; activations only shrink it.

    Normalised rows of D values have length sqrt(D).
    """
    weight = linear.weight.float()
    length = (weight * norm.weight.float()).norm(dim=1) * weight.shape[1] ** 0.5
    return float((length + (weight @ norm.bias.float() + linear.bias.float()).abs()).max())


def unit_for(bound: float) -> float:
    """Return the power of two in whose units the bound, and what rounding adds, is within e4m3."""
    return 2.0 ** math.ceil(math.log2(max(ROUNDED * bound, 1e-30) / LARGEST))
