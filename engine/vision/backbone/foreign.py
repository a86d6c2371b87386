"""Models whose forward is not ours: pictures and texts in, vectors out, every frame in full."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from engine.vision.backbone.text import TextConfig, TextTower
from engine.vision.backbone.tower import VisionConfig, VisionTower


class ForeignTower(VisionTower):
    """Bytes `[B, 3, S, S]` to vectors `[B, E]` by a function; its layers are nobody's business.

    Of models that keep pictures' shapes they are `[B, 3, h, w]`, of clips `[B, T, 3, S, S]`.
    Its shape has no meaning beyond the picture's and the vector's size.
    """

    def __init__(
        self,
        size: int,
        dimension: int,
        embed: Callable[[Tensor], Tensor],
        foreign: str,
        device: torch.device | None = None,
        layers: int = 2,
    ) -> None:
        nn.Module.__init__(self)
        self.config = VisionConfig(
            layers=layers, width=1, heads=1, mlp=1, patch=size, image_size=size,
            dimension=dimension, class_token=False, pre_norm=False, projection=False,
        )  # fmt: skip
        self.position = nn.Parameter(torch.zeros(1, 1, device=device), requires_grad=False)
        self.foreign = foreign
        self._embed = embed

    def normalise(self, pixels: Tensor) -> Tensor:
        """Bytes as they are: what is done with them is the model's own."""
        return pixels

    def forward(self, values: Tensor) -> Tensor:
        """Embed."""
        return self._embed(values)


class ForeignText(TextTower):
    """Texts to vectors `[T, E]` by a function, which cuts them into tokens itself."""

    def __init__(
        self, dimension: int, embed: Callable[[Sequence[str]], Tensor], context: int = 1
    ) -> None:
        nn.Module.__init__(self)
        self.config = TextConfig(
            layers=1, width=1, heads=1, mlp=1, vocabulary=1, context=context, dimension=dimension
        )
        self.embed_texts = embed
