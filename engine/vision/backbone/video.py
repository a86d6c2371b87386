"""The tower of a video model: all tokens of a clip's space and time attend to each other."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.vision.backbone.tower import Activation, Layer, LayerStack


@dataclass(frozen=True, slots=True)
class VideoConfig:
    """Shape of a joint space-time classifier: VideoMAE and ViViT differ in these values alone."""

    layers: int
    width: int
    heads: int
    mlp: int
    patch: int
    tubelet: int  # frames that a token covers
    image_size: int
    num_frames: int  # of a clip
    classes: int
    activation: Activation = "gelu"
    eps: float = 1e-12
    post_eps: float = 1e-5  # of the LayerNorm before the classifier
    class_token: bool = False  # else the mean of all tokens is classified
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    @property
    def side(self) -> int:
        """Patches along one edge of a frame."""
        return self.image_size // self.patch

    @property
    def steps(self) -> int:
        """Tokens of one place in the picture: one for every tubelet of frames."""
        return self.num_frames // self.tubelet

    @property
    def places(self) -> int:
        """Tokens of a clip that are patches, by step, row and column."""
        return self.steps * self.side**2

    @property
    def tokens(self) -> int:
        """Tokens of one clip, the class token included."""
        return self.places + int(self.class_token)


class VideoTower(LayerStack):
    """Clips `[B, F, 3, S, S]` to the scores of their classes `[B, C]`, not yet softmaxed."""

    def __init__(self, config: VideoConfig) -> None:
        super().__init__()
        self.config = config
        self.patch = nn.Linear(3 * config.tubelet * config.patch**2, config.width)
        self.position = nn.Parameter(torch.zeros(config.tokens, config.width))
        if config.class_token:
            self.class_token = nn.Parameter(torch.zeros(config.width))
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.post = nn.LayerNorm(config.width, eps=config.post_eps)
        self.head = nn.Linear(config.width, config.classes)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Bytes `[B, F, 3, S, S]` to float32 values, on the tower's device."""
        device = self.device
        mean, std = torch.tensor([self.config.mean, self.config.std], device=device)
        values = pixels.to(device, non_blocking=True).float() / 255
        return (values - mean.view(3, 1, 1)) / std.view(3, 1, 1)

    def cut(self, values: Tensor) -> Tensor:
        """Tubelets `[B, P, 3·t·p²]` of normalised clips, by step, row and column."""
        config = self.config
        side, edge = config.side, config.patch
        batch, size = len(values), 3 * config.tubelet * edge**2
        grid = values.reshape(batch, config.steps, config.tubelet, 3, side, edge, side, edge)
        return grid.permute(0, 1, 4, 6, 3, 2, 5, 7).reshape(batch, config.places, size)

    def embed(self, values: Tensor) -> Tensor:
        """Token embeddings h_0 `[B, N, D]` of normalised clips."""
        h = self.patch(self.cut(values).to(self.position.dtype))
        if self.config.class_token:
            h = torch.cat([self.class_token.expand(len(h), 1, -1), h], dim=1)
        return h + self.position

    def pool(self, h: Tensor) -> Tensor:
        """Features `[B, D]` of clips: the class token's row, or the mean of all."""
        return h[:, 0] if self.config.class_token else h.mean(1)

    def classify(self, pooled: Tensor) -> Tensor:
        """Scores `[B, C]` of features `[B, D]`."""
        return self.head(self.post(pooled))

    def forward(self, values: Tensor) -> Tensor:
        """Classify normalised clips densely."""
        h = self.embed(values)
        for index in range(self.config.layers):
            h = self.layer(index)(h)
        return self.classify(self.pool(h))


def sine_positions(tokens: int, width: int) -> Tensor:
    """VideoMAE's fixed table `[tokens, D]`: sines and cosines by turns, over base 10,000."""
    columns = torch.arange(width, dtype=torch.float64) // 2 * 2
    places = torch.arange(tokens, dtype=torch.float64)[:, None]
    angles = places / 10_000 ** (columns / width)
    even = torch.arange(width) % 2 == 0
    return torch.where(even, angles.sin(), angles.cos()).float()
