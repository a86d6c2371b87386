"""What cameras and codecs do to pictures, done to a batch on its device."""

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.vision.backbone.tower import VisionConfig


def augment(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Spoil pictures `[B, 3, S, S]` (bytes) a little; returns bfloat16 in `[0, 1]`.

    All get a lift and sensor noise; the first quarter of the batch is blurred, the second is coded
    in blocks at half the colour resolution.
    """
    batch, device = len(pixels), pixels.device
    draws = torch.rand(3, batch, 1, 1, 1, device=device, generator=generator)
    gain, lift, noise = draws.to(torch.bfloat16)
    grain = torch.randn(
        batch, 1, *pixels.shape[2:], device=device, generator=generator, dtype=torch.bfloat16
    )
    values = pixels.to(torch.bfloat16)
    values.mul_((0.9 + 0.2 * gain) / 255).add_(grain.mul_(0.03 * noise * noise))
    values.add_(0.06 * (lift - 0.5))
    quarter = batch // 4
    if quarter:
        values[:quarter] = _blur(values[:quarter])
        strength = 0.02 + 0.08 * torch.rand(quarter, 1, 1, 1, device=device, generator=generator)
        values[quarter : 2 * quarter] = _subsample(_code(values[quarter : 2 * quarter], strength))
    return values.clamp_(0, 1)


def spoil(pixels: Tensor, config: VisionConfig, generator: torch.Generator) -> Tensor:
    """Input values `[B, 3, S, S]` of a tower as a camera and a codec would give them."""
    values = augment(pixels, generator)
    shift, spread = (values.new_tensor(part).view(3, 1, 1) for part in (config.mean, config.std))
    return values.sub_(shift).div_(spread)


def _blur(values: Tensor) -> Tensor:
    side = values.shape[-1]
    small = F.interpolate(values.float(), size=side * 5 // 8, mode="bilinear", antialias=True)
    return F.interpolate(small, size=side, mode="bilinear").to(values.dtype)


def _code(values: Tensor, strength: Tensor) -> Tensor:
    """Quantise 8×8 blocks' cosine coefficients, the finer ones more coarsely."""
    batch, channels, side, _ = values.shape
    basis = _cosines(values.device)
    blocks = values.float().view(batch, channels, side // 8, 8, side // 8, 8)
    coded = torch.einsum("ij,bcyjxk,lk->bcyixl", basis, blocks, basis)
    rise = torch.arange(8, device=values.device)
    step = strength[..., None, None] * (1 + rise.view(8, 1, 1) + rise) * 0.35
    coded = (coded / step).round() * step
    back = torch.einsum("ij,bcyixl,lk->bcyjxk", basis, coded, basis)
    return back.reshape(values.shape).to(values.dtype)


def _cosines(device: torch.device) -> Tensor:
    k = torch.arange(8, device=device, dtype=torch.float32)
    basis = torch.cos(torch.pi / 8 * (k + 0.5) * k[:, None]) / 2
    basis[0] /= 2**0.5
    return basis


def _subsample(values: Tensor) -> Tensor:
    """Keep the luma, and the colour at half the resolution, as 4:2:0 does."""
    luma = (values * values.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    colour = F.avg_pool2d(values - luma, 2)
    return luma + F.interpolate(colour, scale_factor=2.0, mode="bilinear")
