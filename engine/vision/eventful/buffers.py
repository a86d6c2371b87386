"""What Eventful keeps of a stream: what each gate last let through, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from engine.vision.backbone.tower import VisionConfig


@dataclass(frozen=True, slots=True)
class Buffers:
    """Of one stream `[L, …]`, of all places `[L, B, …]`, or of one layer's step `[T, …]`.

    With attention made anew for every frame the four of its products are empty.
    """

    seen: Tensor  # [N, D], gate 1: normed tokens as last let through
    qkv: Tensor  # [N, 3D]
    scores: Tensor  # [H, N, N], queries by keys
    weights: Tensor  # [H, N, N], attention as last added up, by its columns
    values: Tensor  # [H, N, dh], values as last added up
    mixed: Tensor  # float32 [H, N, dh], the sum
    attended: Tensor  # [N, D], gate 2: pre-projections as last let through
    out: Tensor  # [N, D]
    normed: Tensor  # [N, D], gate 3: the MLP's input as last let through
    mlp: Tensor  # [N, D]

    @classmethod
    def empty(cls, places: int, config: VisionConfig, like: Tensor, *, products: bool) -> "Buffers":
        """Allocate zeros for streams side by side."""
        n, d, heads = config.tokens, config.width, config.heads
        kept = heads if products else 0
        lead = (config.layers, places)
        square, split = (*lead, kept, n, n), (*lead, kept, n, d // heads)
        return cls(
            seen=like.new_zeros(*lead, n, d),
            qkv=like.new_zeros(*lead, n, 3 * d),
            scores=like.new_zeros(square),
            weights=like.new_zeros(square),
            values=like.new_zeros(split),
            mixed=like.new_zeros(split, dtype=torch.float32),
            attended=like.new_zeros(*lead, n, d),
            out=like.new_zeros(*lead, n, d),
            normed=like.new_zeros(*lead, n, d),
            mlp=like.new_zeros(*lead, n, d),
        )

    def load(self, saved: "Mapping[int, Buffers]") -> None:
        """Copy streams' buffers to their places."""
        for place, buffers in saved.items():
            for each in fields(self):
                getattr(self, each.name)[:, place].copy_(getattr(buffers, each.name))

    def saved(self, places: Sequence[int]) -> "list[Buffers]":
        """Copies of these streams' buffers, each by itself."""
        return [
            Buffers(*(getattr(self, each.name)[:, place].clone() for each in fields(self)))
            for place in places
        ]

    def taken(self, layer: int, places: Tensor) -> "Buffers":
        """Copies of one layer's buffers, `[T, …]`."""
        return Buffers(*(getattr(self, each.name)[layer, places] for each in fields(self)))

    def put(self, layer: int, places: Tensor, buffers: "Buffers") -> None:
        """Copy one layer's buffers back."""
        for each in fields(self):
            getattr(self, each.name)[layer, places] = getattr(buffers, each.name)
