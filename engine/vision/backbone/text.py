"""The text tower: token ids to projected, not yet normalised embeddings."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.vision.backbone.tower import Activation
from kernels.activation import activate

Words = Literal["as_given", "small", "spaced", "lower", "bare"]  # see `written`


@dataclass(frozen=True, slots=True)
class TextConfig:
    """Shape of a text transformer: CLIP's is causal and pooled at its end token."""

    layers: int
    width: int
    heads: int
    mlp: int
    vocabulary: int
    context: int  # positions, the longest text in tokens
    dimension: int  # of the embedding
    activation: Activation = "quick_gelu"
    eps: float = 1e-5
    causal: bool = True
    pooling: Literal["end", "last"] = "end"  # the first end token, or the last position
    end_token: int = 49407
    head_bias: bool = False
    words: Words = "as_given"  # how a text is written before it is cut into tokens


class TextLayer(nn.Module):
    """One pre-norm transformer layer over `[B, T, D]`."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.causal = config.causal
        self.activation: Activation = config.activation
        self.norm1 = nn.LayerNorm(config.width, eps=config.eps)
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.norm2 = nn.LayerNorm(config.width, eps=config.eps)
        self.up = nn.Linear(config.width, config.mlp)
        self.down = nn.Linear(config.mlp, config.width)

    def forward(self, h: Tensor) -> Tensor:
        """Run the layer."""
        batch, tokens, width = h.shape
        qkv = self.qkv(self.norm1(h)).view(batch, tokens, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        h = h + self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return h + self.down(activate(self.up(self.norm2(h)), self.activation))


class TextTower(nn.Module):
    """Token ids `[B, T]`, padded after their end token, to embeddings `[B, E]`."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.token = nn.Embedding(config.vocabulary, config.width)
        self.position = nn.Parameter(torch.zeros(config.context, config.width))
        self.layers = nn.ModuleList(TextLayer(config) for _ in range(config.layers))
        self.post = nn.LayerNorm(config.width, eps=config.eps)
        self.head = nn.Linear(config.width, config.dimension, bias=config.head_bias)

    def read(self, ids: Tensor) -> Tensor:
        """The last layer's tokens `[B, T, D]`, before one of them is chosen for the text."""
        h = self.token(ids) + self.position[: ids.shape[1]]
        for layer in self.layers:
            h = layer(h)
        return self.post(h)

    def forward(self, ids: Tensor) -> Tensor:
        """Encode the texts; what follows the end token does not matter where it pools there."""
        h = self.read(ids)
        if self.config.pooling == "last":
            return self.head(h[:, -1])
        # argmax of a 0/1 row is its first 1; a text without an end token has no meaning here
        ends = (ids == self.config.end_token).int().argmax(1)
        return self.head(h[torch.arange(len(ids), device=ids.device), ends])
