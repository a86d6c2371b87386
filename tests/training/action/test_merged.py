"""Merged tokens in a video model: scores and gradients against a definition token by token."""

import math

import pytest
import torch
from torch import Tensor

from engine.training.action.merged import merging, score_merged
from engine.vision.backbone.tower import Layer
from engine.vision.backbone.video import VideoConfig, VideoTower


def tower(*, class_token: bool) -> VideoTower:
    shape = VideoConfig(
        layers=3, width=8, heads=2, mlp=16, patch=4, tubelet=2, image_size=12, num_frames=4,
        classes=3, class_token=class_token,
    )  # fmt: skip
    made = VideoTower(shape)
    generator = torch.Generator().manual_seed(5)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.4, generator=generator)
    return made


def slowly(made: VideoTower, clip: Tensor, r: int) -> Tensor:
    """One clip; tokens are a list of rows with the number of tokens that each stands for."""
    rows = list(made.embed(made.normalise(clip[None]))[0])
    sizes = [1.0] * len(rows)
    for index in range(made.config.layers):
        layer = made.layer(index)
        q, k, v = (torch.stack([layer.project(row) for row in rows])).chunk(3, dim=1)
        rows = attended(layer, rows, q, k, v, sizes)
        keys = k.unflatten(1, (layer.heads, -1)).mean(1).detach()
        pairs = []
        for even in range(2, len(rows), 2):
            like = [
                float(torch.cosine_similarity(keys[even], keys[odd], dim=0))
                for odd in range(1, len(rows), 2)
            ]
            best = max(range(len(like)), key=lambda at: like[at])
            pairs.append((like[best], even, 2 * best + 1))
        merged = sorted(pairs, reverse=True)[: min(r, (len(rows) - 1) // 2)]
        groups = {at: [at] for at in range(len(rows))}
        for _, even, odd in merged:
            groups[odd].append(even)
            del groups[even]
        evens = [at for at in groups if at % 2 == 0]
        order = [*evens, *(at for at in groups if at % 2)]
        rows = [
            sum(sizes[one] * rows[one] for one in groups[at]) / sum(sizes[o] for o in groups[at])
            for at in order
        ]
        sizes = [sum(sizes[one] for one in groups[at]) for at in order]
        rows = [layer.feed_forward(row) for row in rows]
    if made.config.class_token:
        return made.classify(rows[0])
    whole = sum(size * row for size, row in zip(sizes, rows, strict=True))
    return made.classify(whole / sum(sizes))  # type: ignore[operator]


def attended(
    layer: Layer, rows: list[Tensor], q: Tensor, k: Tensor, v: Tensor, sizes: list[float]
) -> list[Tensor]:
    width = q.shape[1] // layer.heads
    heads = [slice(at * width, (at + 1) * width) for at in range(layer.heads)]
    made = []
    for at, row in enumerate(rows):
        parts = []
        for head in heads:
            shares = [
                size * torch.exp(q[at, head] @ k[other, head] / math.sqrt(width))
                for other, size in enumerate(sizes)
            ]
            weighed = [share * v[other, head] for other, share in enumerate(shares)]
            parts.append(torch.stack(weighed).sum(0) / torch.stack(shares).sum())
        made.append(row + layer.out(torch.cat(parts)))
    return made


@pytest.mark.parametrize("class_token", [True, False])
def test_it_is_its_definition_and_so_is_its_gradient(class_token: bool) -> None:
    made = tower(class_token=class_token)
    rule = merging(made.config, 0.4)
    assert rule.r == 4
    generator = torch.Generator().manual_seed(0)
    clips = torch.randint(0, 256, (2, 4, 3, 12, 12), dtype=torch.uint8, generator=generator)
    found = []
    for scores in (
        score_merged(made, clips, rule),
        torch.stack([slowly(made, clip, 4) for clip in clips]),
    ):
        made.zero_grad()
        scores.square().sum().backward()
        found.append([scores.detach(), *(p.grad.clone() for p in made.parameters())])
    for ours, defined in zip(*found, strict=True):
        torch.testing.assert_close(ours, defined, rtol=1e-3, atol=1e-4)


def test_with_all_kept_it_is_dense() -> None:
    made = tower(class_token=False)
    clips = torch.randint(0, 256, (2, 4, 3, 12, 12), dtype=torch.uint8)
    torch.testing.assert_close(
        score_merged(made, clips, merging(made.config, 1.0)), made(made.normalise(clips))
    )
