"""ViViT's factorised encoder: each tubelet of frames by itself, then what they gave over time."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.vision.backbone.macs import dense_macs
from engine.vision.backbone.tower import Layer, LayerStack, VisionConfig, VisionTower


@dataclass(frozen=True, slots=True)
class FactorisedConfig:
    """Shape of a video classifier whose layers see space first, then time."""

    spatial: VisionConfig  # of one tubelet; embedded by its class token, not projected
    num_frames: int  # of a clip
    temporal_layers: int
    classes: int

    @property
    def image_size(self) -> int:
        """Edge of a frame."""
        return self.spatial.image_size

    @property
    def steps(self) -> int:
        """Tubelets of a clip."""
        return self.num_frames // self.spatial.tubelet


def spatial_shape(
    layers: int, width: int, heads: int, mlp: int, patch: int, tubelet: int, image_size: int,
    *, eps: float = 1e-6, mean: tuple[float, float, float] = (0.45, 0.45, 0.45),
    std: tuple[float, float, float] = (0.225, 0.225, 0.225),
) -> VisionConfig:  # fmt: skip
    """Shape of the first half, from what tells one from another."""
    return VisionConfig(
        layers, width, heads, mlp, patch, image_size, width, activation="gelu", eps=eps,
        pre_norm=False, patch_bias=True, projection=False, mean=mean, std=std, tubelet=tubelet,
    )  # fmt: skip


class TemporalTower(LayerStack):
    """Features `[B, steps, D]` to one of the clip `[B, D]`: a class token attends to them."""

    def __init__(self, config: FactorisedConfig) -> None:
        super().__init__()
        shape = config.spatial
        self.class_token = nn.Parameter(torch.zeros(shape.width))
        self.position = nn.Parameter(torch.zeros(config.steps + 1, shape.width))
        self.layers = nn.ModuleList(Layer(shape) for _ in range(config.temporal_layers))
        self.post = nn.LayerNorm(shape.width, eps=shape.eps)

    def forward(self, features: Tensor) -> Tensor:
        """Join the features of a clip's tubelets."""
        h = torch.cat([self.class_token.expand(len(features), 1, -1), features], 1) + self.position
        for index in range(len(self.layers)):
            h = self.layer(index)(h)
        joined: Tensor = self.post(h[:, 0])
        return joined


class FactorisedTower(nn.Module):
    """Clips `[B, F, 3, S, S]` to the scores of their classes `[B, C]`, not yet softmaxed."""

    def __init__(self, config: FactorisedConfig) -> None:
        super().__init__()
        self.config = config
        self.spatial = VisionTower(config.spatial)
        self.temporal = TemporalTower(config)
        self.head = nn.Linear(config.spatial.width, config.classes)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Bytes `[B, F, 3, S, S]` to the tower's input values, on the tower's device."""
        return self.spatial.normalise(pixels)

    def tubelets(self, clips: Tensor) -> Tensor:
        """Clips cut in time, `[B, steps, t, 3, S, S]`."""
        return clips.unflatten(1, (self.config.steps, self.config.spatial.tubelet))

    def tell(self, features: Tensor) -> Tensor:
        """Scores `[B, C]` of clips by the features `[B, steps, D]` of their tubelets."""
        scores: Tensor = self.head(self.temporal(features))
        return scores

    def forward(self, values: Tensor) -> Tensor:
        """Classify normalised clips densely."""
        cut = self.tubelets(values)
        return self.tell(self.spatial(cut.flatten(0, 1)).unflatten(0, cut.shape[:2]))


def temporal_macs(config: FactorisedConfig) -> int:
    """Multiply-accumulates of a clip's second half, its classes included."""
    d, tokens, mlp = config.spatial.width, config.steps + 1, config.spatial.mlp
    layer = tokens * (4 * d**2 + 2 * d * mlp) + 2 * tokens**2 * d
    return config.temporal_layers * layer + d * config.classes


def clip_macs(config: FactorisedConfig) -> int:
    """Multiply-accumulates of a whole clip, dense."""
    return config.steps * dense_macs(config.spatial) + temporal_macs(config)
