"""Packed clips under torch.compile on a GPU: as without, for packs of any number of tokens."""

import pytest
import torch
from torch import nn

from engine.vision.backbone.video import VideoConfig, VideoTower
from engine.vision.runlength.joint import RunLengthVideo


def tower(*, class_token: bool) -> VideoTower:
    shape = VideoConfig(
        layers=2, width=128, heads=2, mlp=256, patch=8, tubelet=2, image_size=64, num_frames=8,
        classes=5, class_token=class_token,
    )  # fmt: skip
    made = VideoTower(shape)
    generator = torch.Generator().manual_seed(2)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.1, generator=generator)
    return made.to("cuda", torch.bfloat16)


@pytest.mark.gpu
@pytest.mark.parametrize("class_token", [True, False])
def test_compiled_packs_equal_those_that_are_not(class_token: bool) -> None:
    made = tower(class_token=class_token)
    exact = VideoTower(made.config).to("cuda")
    exact.load_state_dict(made.state_dict())
    generator = torch.Generator().manual_seed(0)
    clips = torch.randint(0, 256, (6, 8, 3, 64, 64), dtype=torch.uint8, generator=generator).cuda()
    table = torch.randn(4, 128, generator=generator).cuda()
    torch._dynamo.reset()
    with torch._dynamo.config.patch(error_on_recompile=False):
        for share in (1.1, 0.6, 0.3, 0.45):
            kept = (torch.rand(6, 4, 8, 8, generator=generator) < share).cuda()
            kept[:, 0] = True
            for lengths in (None, table):
                half = None if lengths is None else lengths.bfloat16()
                grads = []
                for model, runs in (
                    (exact, RunLengthVideo(exact, lengths=lengths)),
                    (made, RunLengthVideo(made, lengths=half)),
                    (made, RunLengthVideo(made, lengths=half, compiled=True)),
                ):
                    model.zero_grad(set_to_none=True)
                    scores = runs.score(clips, kept)
                    scores.float().square().sum().backward()
                    grads.append([scores.float(), *(p.grad.float() for p in model.parameters())])
                for truth, plain, compiled in zip(*grads, strict=True):
                    size = truth.norm()
                    assert (compiled - truth).norm() <= 1.5 * (plain - truth).norm() + 0.01 * size
                    assert (plain - truth).norm() < 0.1 * size
