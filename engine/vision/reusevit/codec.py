"""The codec net: a number per patch from the cues of this frame and the three before it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = 4
WINDOW = 4  # frames, oldest first


class TimeMixer(nn.Module):
    """Two maps along time, shared by all channels and places, beside a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(WINDOW, WINDOW, bias=False)
        self.second = nn.Linear(WINDOW, WINDOW, bias=False)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        """Mix `[B, C, T, h, w]` along T."""
        y = x.movedim(2, -1)
        y = self.dropout(self.first(y).relu())
        y = self.dropout(self.second(y).relu())
        return (x + y.movedim(-1, 2)).relu()


class CodecStage(nn.Module):
    """Convolution, norm, pooling to half the side, rounded up."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 2)
        self.norm = nn.GroupNorm(1, outputs)
        self.mix = TimeMixer()

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, T, h, w]` to `[B, C', T, ceil(h/2), ceil(w/2)]`."""
        batch, _, frames, height, width = x.shape
        y = x.transpose(1, 2).flatten(0, 1)  # every frame by itself
        y = self.conv(F.pad(y, (0, 1, 0, 1))).relu()
        y = F.pad(y, (0, width % 2, 0, height % 2))
        y = y.unflatten(0, (batch, frames)).transpose(1, 2)
        y = self.norm(y)
        y = F.max_pool3d(y, (1, 2, 2))
        return self.mix(y)


class CodecNet(nn.Module):
    """A small U-net over the patch grid, shared by all layers; 25,441 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(
            CodecStage(i, o) for i, o in ((CHANNELS, 16), (16, 32), (32, 64))
        )
        self.decoders = nn.ModuleList(
            nn.ConvTranspose2d(i, o, 2, stride=2) for i, o in ((64, 32), (64, 16), (32, 16))
        )
        self.norms = nn.ModuleList([nn.GroupNorm(1, 32), nn.GroupNorm(1, 16)])
        self.dropout = nn.Dropout(0.2)
        self.last = nn.Conv2d(16, 1, 1)

    def forward(self, cues: Tensor) -> Tensor:
        """Cues `[B, 4, T, side, side]`, oldest frame first, to `[B, side * side]` in (-1, 1)."""
        side = cues.shape[-1]
        skips, x = [], cues
        for encoder in self.encoders:
            x = encoder(x)
            skips.append(x[:, :, 0])  # the decoder reads the oldest slot, as published
        y = skips.pop()
        for at, decoder in enumerate(self.decoders):
            y = decoder(self.dropout(y.relu()))
            if skips:
                skip = skips.pop()
                y = self.norms[at](y)[..., : skip.shape[-2], : skip.shape[-1]]
                y = torch.cat([y, skip], 1)
        return self.last(y[..., :side, :side]).tanh().flatten(1)


def codec_macs(side: int) -> int:
    """Multiply-accumulates of the net for one frame."""
    macs, sides = 0, [side]
    for inputs, outputs in ((CHANNELS, 16), (16, 32), (32, 64)):
        macs += WINDOW * side * side * inputs * outputs * 4
        side = (side + 1) // 2
        macs += 2 * outputs * side * side * WINDOW * WINDOW
        sides.append(side)
    for (inputs, outputs), place in zip(((64, 32), (64, 16), (32, 16)), sides[:0:-1], strict=True):
        macs += place * place * inputs * outputs * 4
    return macs + sides[0] ** 2 * 16
