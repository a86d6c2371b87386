"""A video's frame vectors as one vector: the sequence head of CLIP4Clip beside the plain mean."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from engine.vision.backbone.trained import NetworkKind, load_trained, save_trained
from kernels.activation import activate

KIND = NetworkKind("sequence", "sequence head", "pools vectors", "sequence")
TOGETHER = 64  # videos pooled at once


@dataclass(frozen=True, slots=True)
class SequenceConfig:
    """Shape of the head."""

    width: int  # numbers of a frame's vector
    heads: int
    layers: int = 4
    frames: int = 77  # places that have a position: of a longer video so many frames are taken
    unit: bool = True  # reads unit vectors; the published one reads them at their own length


class SequenceLayer(nn.Module):
    """One pre-norm layer of CLIP's text transformer, without its causal mask."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        width = config.width
        self.attend = nn.MultiheadAttention(width, config.heads, batch_first=True)
        self.norm1 = nn.LayerNorm(width, eps=1e-12)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Tokens `[V, F, E]`; those that are `hidden` `[V, F]` are seen by none."""
        y = self.norm1(x)
        x = x + self.attend(y, y, y, key_padding_mask=hidden, need_weights=False)[0]
        h: Tensor = x + self.down(activate(self.up(self.norm2(x)), "quick_gelu"))
        return h


class SequenceHead(nn.Module):
    """Frames with their places through a transformer, added to what they were, and their mean."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        self.config = config
        self.position = nn.Embedding(config.frames, config.width)
        self.layers = nn.ModuleList(SequenceLayer(config) for _ in range(config.layers))

    def forward(self, frames: Tensor, shown: Tensor) -> Tensor:
        """Unit vectors `[V, E]` of videos.

        Args:
            frames: of each video in time order, `[V, F, E]`.
            shown: which are frames and no padding, bool `[V, F]`.
        """
        x = frames + self.position.weight[: frames.shape[1]]
        for layer in self.layers:
            x = layer(x, ~shown)
        told = F.normalize(x + frames, dim=-1) * shown[..., None]
        return F.normalize(told.sum(1), dim=-1)


@dataclass(frozen=True, slots=True)
class SequencePooler:
    """A head for one embedding space."""

    head: SequenceHead
    weight_hash: str  # of the model whose vectors it pools

    def to(self, device: torch.device) -> "SequencePooler":
        """Move it to a device."""
        return replace(self, head=self.head.to(device))

    @torch.inference_mode()
    def pool(
        self, videos: Sequence[NDArray[np.float32]], lengths: Sequence[NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """Unit vectors `[V, E]` of videos, given unit vectors `[F, E]` and lengths `[F]` of each.

        Of a video with more frames than the head has places some are taken, evenly.
        """
        device, config = self.head.position.weight.device, self.head.config
        found = []
        for start in range(0, len(videos), TOGETHER):
            part = range(start, min(start + TOGETHER, len(videos)))
            rows = [self._chosen(videos[at], lengths[at]) for at in part]
            counts = torch.tensor([len(each) for each in rows])
            shown = torch.arange(int(counts.max())) < counts[:, None]
            padded = pad_sequence(rows, batch_first=True)
            found.append(self.head(padded.to(device), shown.to(device)).cpu())
        if not found:
            return np.empty((0, config.width), np.float32)
        return torch.cat(found).numpy()

    def _chosen(self, frames: NDArray[np.float32], lengths: NDArray[np.float32]) -> Tensor:
        kept = spread(len(frames), self.head.config.frames)
        rows = frames[kept] if self.head.config.unit else frames[kept] * lengths[kept, None]
        return torch.from_numpy(rows)


def spread(count: int, most: int) -> NDArray[np.int64]:
    """Places of at most so many of `count` frames, evenly from the first to the last."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def save_sequence(pooler: SequencePooler, path: Path) -> None:
    """Write a head with its shape and the model it belongs to."""
    save_trained(path, pooler.head, pooler.head.config, KIND, pooler.weight_hash)


def load_sequence(path: Path, weight_hash: str) -> SequencePooler:
    """Read a head; one of another kind, or of another model's vectors, is an error."""
    head = load_trained(path, lambda told: SequenceHead(SequenceConfig(**told)), KIND, weight_hash)
    return SequencePooler(head, weight_hash)
