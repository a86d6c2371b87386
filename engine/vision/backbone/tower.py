"""The vision tower, cut where reuse needs it: embed, queries/keys/values, attend, finish, pool."""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.vision.backbone.linear8 import Linear8
from engine.vision.backbone.rotary import Rotary, Turning
from engine.vision.backbone.stem import PatchStem
from kernels.activation import activate

Activation = Literal["quick_gelu", "gelu", "gelu_tanh"]
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class LayerShape(Protocol):
    """What a layer asks of a configuration, of frames or of clips."""

    @property
    def width(self) -> int:
        """Numbers of a token, D."""

    @property
    def heads(self) -> int:
        """Heads of the attention, H."""

    @property
    def mlp(self) -> int:
        """Hidden width of the MLP."""

    @property
    def activation(self) -> Activation:
        """Between the MLP's products."""

    @property
    def eps(self) -> float:
        """Of the LayerNorms."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Shape of a pooling by a learned query."""

    heads: int
    mlp: int


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """Shape of a vision transformer: CLIP, SigLIP and plain ViTs differ in these values alone."""

    layers: int
    width: int
    heads: int
    mlp: int
    patch: int
    image_size: int
    dimension: int  # of the embedding
    activation: Activation = "quick_gelu"
    eps: float = 1e-5
    class_token: bool = True  # else pooled by a probe of the tower's own heads and MLP, as SigLIP
    probe: Probe | None = None  # pools although there is a class token, or in another shape
    rotary: Rotary | None = None  # queries and keys are turned by their places
    stem: tuple[tuple[int, int], ...] = ()  # edges and channels of convolutions within a patch
    pre_norm: bool = True  # CLIP's LayerNorm between the embeddings and layer 0
    patch_bias: bool = False
    projection: bool = True  # a D -> E product after pooling
    head_bias: bool = False  # of that product
    tubelet: int = 1  # frames that a token covers: 1 of pictures, more in halves of video models
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD

    def __post_init__(self) -> None:
        if self.rotary and self.by_class:
            raise ValueError("rotary positions of a tower embedded by its class token")

    @property
    def by_class(self) -> bool:
        """Whether the class token becomes the embedding: the last layer then ends for it alone."""
        return self.class_token and self.probe is None

    @property
    def pool(self) -> Probe:
        """Shape of the pooling, where it is by a probe."""
        return self.probe or Probe(self.heads, self.mlp)

    @property
    def side(self) -> int:
        """Patches along one edge of the image."""
        return self.image_size // self.patch

    @property
    def tokens(self) -> int:
        """Tokens of one frame, N: the patches and, where there is one, the class token."""
        return self.side * self.side + int(self.class_token)

    @property
    def picture(self) -> tuple[int, ...]:
        """Shape of what is embedded at once: a frame, or a tubelet of several."""
        frame = 3, self.image_size, self.image_size
        return frame if self.tubelet == 1 else (self.tubelet, *frame)


class Layer(nn.Module):
    """One pre-norm transformer layer, its attention and its token-wise work apart."""

    def __init__(self, config: LayerShape) -> None:
        super().__init__()
        self.heads = config.heads
        self.turns: Turning | None = None  # that a tower with rotary positions shares out
        self.activation: Activation = config.activation
        self.norm1 = nn.LayerNorm(config.width, eps=config.eps)
        self.qkv: nn.Linear | Linear8 = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.norm2 = nn.LayerNorm(config.width, eps=config.eps)
        self.up: nn.Linear | Linear8 = nn.Linear(config.width, config.mlp)
        self.down: nn.Linear | Linear8 = nn.Linear(config.mlp, config.width)

    def project(self, h: Tensor, places: Tensor | None = None) -> Tensor:
        """Queries, keys and values `[..., 3D]`, side by side, of any rows `[..., D]`.

        `places` `[...]` say which tokens of a frame the rows are; without, they are all in order.
        """
        return self.turn(self.qkv(self.norm1(h)), places)

    def turn(self, qkv: Tensor, places: Tensor | None = None) -> Tensor:
        """Turn queries and keys by their places, in a tower with rotary positions."""
        return qkv if self.turns is None else self.turns.turn(qkv, self.heads, places)

    def attend(self, qkv: Tensor, bias: Tensor | None = None) -> Tensor:
        """Pre-projection P `[B, N, D]`: the heads' outputs side by side, before `out`.

        A bias `[B, N]` is added to every score of its key.
        """
        batch, tokens, _ = qkv.shape
        q, k, v = qkv.view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        added = None if bias is None else bias[:, None, None].to(q.dtype)
        mixed = F.scaled_dot_product_attention(q, k, v, added)  # [B, H, N, dh]
        return mixed.transpose(1, 2).reshape(batch, tokens, -1)

    def attend_weighted(self, qkv: Tensor) -> tuple[Tensor, Tensor]:
        """P `[B, N, D]` as `attend`, and the attention weights `[B, H, N, N]`."""
        batch, tokens, _ = qkv.shape
        q, k, v = qkv.view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = ((q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5).softmax(-1)
        return (weights @ v).transpose(1, 2).reshape(batch, tokens, -1), weights

    def finish(self, h: Tensor, mixed: Tensor) -> Tensor:
        """The next layer's h from h and P, for any rows `[..., D]`."""
        return self.feed_forward(h + self.out(mixed))

    def feed_forward(self, h: Tensor) -> Tensor:
        """Add the MLP's output to any rows `[..., D]`."""
        return h + self.mlp(self.norm2(h))

    def mlp(self, normed: Tensor) -> Tensor:
        """MLP of normed rows `[..., D]`, nothing added."""
        return self.down(activate(self.up(normed), self.activation))

    def forward(self, h: Tensor) -> Tensor:
        """Run the whole layer on `[B, N, D]`."""
        return self.finish(h, self.attend(self.project(h)))


class AttentionPool(nn.Module):
    """SigLIP's pooling: one learned query attends to all tokens, then an MLP."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.heads, mlp = config.pool.heads, config.pool.mlp
        self.activation: Activation = config.activation
        self.probe = nn.Parameter(torch.zeros(1, 1, config.width))
        self.q = nn.Linear(config.width, config.width)
        self.kv = nn.Linear(config.width, 2 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.eps)
        self.up = nn.Linear(config.width, mlp)
        self.down = nn.Linear(mlp, config.width)

    def weigh(self, h: Tensor) -> Tensor:
        """Attention of the query to each token, `[B, H, 1, N]`, of tokens `[B, N, D]`."""
        batch, tokens, width = h.shape
        q = self.q(self.probe).view(1, self.heads, 1, -1)
        keys = F.linear(h, self.kv.weight[:width], self.kv.bias[:width])
        k = keys.view(batch, tokens, self.heads, -1).permute(0, 2, 3, 1)
        return ((q @ k) * q.shape[-1] ** -0.5).softmax(-1)

    def forward(self, h: Tensor) -> Tensor:
        """Pool `[B, N, D]` into `[B, D]`."""
        batch, tokens, width = h.shape
        q = self.q(self.probe).expand(batch, -1, -1).view(batch, 1, self.heads, -1)
        k, v = self.kv(h).view(batch, tokens, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q.transpose(1, 2), k, v)
        pooled = self.out(mixed.transpose(1, 2).reshape(batch, width))
        return pooled + self.down(activate(self.up(self.norm(pooled)), self.activation))


class LayerStack(nn.Module):
    """What towers of images and of clips share: their layers by number, and where they are."""

    layers: nn.ModuleList
    position: nn.Parameter

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.position.device

    def layer(self, index: int) -> Layer:
        """Return layer `index`, typed."""
        layer = self.layers[index]
        assert isinstance(layer, Layer)
        return layer


class VisionTower(LayerStack):
    """Frames `[B, 3, S, S]` to projected, not yet normalised embeddings `[B, E]`."""

    foreign = ""  # whose forward it is, where it is not ours

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.patch = (
            PatchStem(config.stem)
            if config.stem
            else nn.Linear(3 * config.tubelet * config.patch**2, config.width, config.patch_bias)
        )
        self.position = nn.Parameter(torch.zeros(config.tokens, config.width))
        if config.class_token:
            self.class_token = nn.Parameter(torch.zeros(config.width))
        self.pre = nn.LayerNorm(config.width, eps=config.eps) if config.pre_norm else nn.Identity()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        if config.rotary:
            size = config.width // config.heads
            turns = Turning(config.rotary, config.side, size, int(config.class_token))
            for index in range(config.layers):
                self.layer(index).turns = turns
        self.post = nn.LayerNorm(config.width, eps=config.eps)
        self.pool = nn.Identity() if config.by_class else AttentionPool(config)
        self.head = (
            nn.Linear(config.width, config.dimension, bias=config.head_bias)
            if config.projection
            else nn.Identity()
        )
        # float32 whatever the weights' precision, so neither parameters nor buffers
        self.scaling: dict[torch.device, tuple[Tensor, Tensor]] = {}

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are stored and multiplied in."""
        return self.position.dtype

    @property
    def product(self) -> nn.Linear:
        """What embeds patches, of a tower in which that is one product."""
        assert isinstance(self.patch, nn.Linear)
        return self.patch

    def normalise(self, pixels: Tensor) -> Tensor:
        """Bytes `[..., 3, S, S]` to the tower's input values, on the tower's device."""
        device = self.device
        if device not in self.scaling:
            mean, std = torch.tensor([self.config.mean, self.config.std], device=device)
            self.scaling[device] = mean.view(3, 1, 1), std.view(3, 1, 1)
        mean, std = self.scaling[device]
        return ((pixels.to(device, non_blocking=True).float() / 255 - mean) / std).to(self.dtype)

    def cut(self, values: Tensor) -> Tensor:
        """Patches `[B, P, 3·t·p²]` of normalised values, by row and column."""
        batch, side, patch = values.shape[0], self.config.side, self.config.patch
        grid = values.reshape(batch, self.config.tubelet, 3, side, patch, side, patch)
        grid = grid.permute(0, 3, 5, 2, 1, 4, 6)
        return grid.reshape(batch, side * side, -1)

    def embed(self, values: Tensor) -> Tensor:
        """Token embeddings h_0 `[B, N, D]` of normalised values `[B, 3, S, S]`."""
        h = self.patch(self.cut(values))
        if self.config.class_token:
            h = torch.cat([self.class_token.expand(len(h), 1, -1), h], dim=1)
        return self.pre(h + self.position)

    def look(self, values: Tensor, layers: int) -> Tensor:
        """Return the tokens h `[B, N, D]` after so many layers; the rest is not run."""
        h = self.embed(values)
        for index in range(layers):
            h = self.layer(index)(h)
        return h

    def finish(self, h: Tensor) -> Tensor:
        """Embeddings `[B, E]` from the last hidden state, or its class token's row `[B, D]`."""
        if self.config.by_class:
            return self.head(self.post(h if h.ndim == 2 else h[:, 0]))[..., : self.config.dimension]
        return self.head(self.pool(self.post(h)))[..., : self.config.dimension]

    def forward(self, values: Tensor) -> Tensor:
        """Encode normalised values densely, with the class token's tail alone in the last layer."""
        h = self.embed(values)
        for index in range(self.config.layers - 1):
            h = self.layer(index)(h)
        last = self.layer(self.config.layers - 1)
        mixed = last.attend(last.project(h))
        if self.config.by_class:
            h, mixed = h[:, 0], mixed[:, 0]
        return self.finish(last.finish(h, mixed))
