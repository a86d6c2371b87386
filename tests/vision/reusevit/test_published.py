"""Published checkpoints: by the names and numbers that others wrote, where they are at hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.errors import ModelError
from engine.vision.backbone.tower import VisionConfig
from engine.vision.reusevit.cue import codec_cues
from engine.vision.reusevit.modules import ReuseConfig, ReuseModules
from engine.vision.reusevit.published import fill_published, import_published

CLIP_L = VisionConfig(24, 1024, 16, 4096, 14, 224, 768)
ENCODER = "net.model.vision_model.encoder."
Change = Callable[[dict[str, Tensor]], Any]


def made_names(layers: int, width: int) -> dict[str, Tensor]:
    """A state dict as the published training code names and shapes it, of random numbers."""
    shapes: dict[str, list[int]] = {"net.model.visual_projection.weight": [4, width]}
    for layer in range(layers):
        module = f"{ENCODER}layers.{layer}.reuse_module."
        for at, shape in ((1, [160, 6]), (2, [2, 160])):
            shapes[f"{module}decision_module.blocks.{at}.0.weight"] = shape
            shapes[f"{module}decision_module.blocks.{at}.0.bias"] = shape[:1]
        for letter in "hqkv":
            shapes[f"{module}restoration_module.{letter}_mlp.0.weight"] = [64, width]
            shapes[f"{module}restoration_module.{letter}_mlp.3.weight"] = [width, 64]
    codec, sizes = "net.blobnet.", (4, 16, 32, 64)
    for at in range(3):
        block = f"{codec}encoder.contracting.{at}."
        shapes[f"{block}0.weight"] = [sizes[at + 1], sizes[at], 1, 2, 2]
        shapes |= {f"{block}{name}": [sizes[at + 1]] for name in ("0.bias", "3.weight", "3.bias")}
        shapes |= {f"{block}5.inner.{name}.weight": [4, 4, 1] for name in (0, 3)}
        block, inner, outer = f"{codec}decoder.expanding.{at}.", *((64, 32), (64, 16), (32, 16))[at]
        shapes[f"{block}0.conv.weight"] = [inner, outer, 1, 2, 2]
        shapes[f"{block}0.conv.bias"] = [outer]
        if at < 2:
            shapes |= {f"{block}1.{name}": [outer] for name in ("weight", "bias")}
    shapes[f"{codec}decoder.final.weight"] = [1, 16, 1, 1, 1]
    shapes[f"{codec}decoder.final.bias"] = [1]
    return {name: torch.randn(shape) for name, shape in shapes.items()}


def small() -> ReuseModules:
    """Parts of a tower of three layers."""
    return ReuseModules(VisionConfig(3, 32, 2, 64, 8, 32, 16), ReuseConfig(cue="codec"))


def check_gates(modules: ReuseModules, named: dict[str, Tensor]) -> None:
    """A gate's tensors are those of the module one layer later."""
    for at, gate in enumerate(modules.gates):
        module = f"{ENCODER}layers.{at + 1}.reuse_module."
        own = gate.state_dict()
        for ours, theirs in (("0", "1.0"), ("3", "2.0")):
            for kind in ("weight", "bias"):
                value = named[f"{module}decision_module.blocks.{theirs}.{kind}"]
                assert torch.equal(own[f"decision.net.{ours}.{kind}"], value)
        down = [named[f"{module}restoration_module.{letter}_mlp.0.weight"] for letter in "hqkv"]
        up = [named[f"{module}restoration_module.{letter}_mlp.3.weight"].T for letter in "hqkv"]
        assert torch.equal(own["restoration.down"], torch.cat(down))
        assert torch.equal(own["restoration.up"], torch.stack(up))


@pytest.mark.real
def test_every_tensor_of_a_published_clip_l14_is_known(real_data: Path) -> None:
    shapes = json.loads((real_data / "checkpoints/published_names.json").read_text())
    named = {name: torch.randn(shape) for name, shape in shapes.items()}
    modules = ReuseModules(CLIP_L, ReuseConfig(cue="codec"))
    found = fill_published(named, modules)
    check_gates(modules, named)
    assert len(found.used) == 318 - 12
    assert all(".layers.0." in name for name in found.unused)


@pytest.mark.real
def test_a_published_codec_net_gives_what_it_gave_there(real_data: Path) -> None:
    golden = np.load(real_data / "checkpoints/published_golden.npz")
    named = made_names(3, 32)
    named |= {name: torch.from_numpy(golden[name]) for name in golden if name in named}
    modules = small().eval()
    fill_published(named, modules)
    raw = torch.from_numpy(golden["blobnet_input"]).transpose(1, 2)  # by frame
    scaled = codec_cues(raw.flatten(0, 1)).view_as(raw).transpose(1, 2)
    with torch.inference_mode():
        given = modules.cue(scaled)
    expected = torch.from_numpy(golden["blobnet_output"]).reshape(given.shape)
    torch.testing.assert_close(given, expected, rtol=0, atol=1e-6)


@pytest.mark.real
def test_the_names_made_here_are_the_published_ones(real_data: Path) -> None:
    shapes = json.loads((real_data / "checkpoints/published_names.json").read_text())
    made = {name: list(value.shape) for name, value in made_names(24, 1024).items()}
    made.pop("net.model.visual_projection.weight")
    assert made == shapes


def test_a_checkpoint_is_read_by_name(tmp_path: Path) -> None:
    named = made_names(3, 32)
    shuffled = dict(sorted(named.items(), key=lambda item: hash(item[0])))
    torch.save({"state_dict": shuffled, "epoch": 3}, tmp_path / "last.ckpt")
    modules = small()
    found = import_published(tmp_path / "last.ckpt", modules)
    check_gates(modules, named)
    assert len(found.used) == 2 * 12 + 30
    assert "net.model.visual_projection.weight" in found.unused


def lose(part: str) -> Change:
    """Leave a tensor out."""
    return lambda named: named.pop(next(name for name in named if part in name))


def invent(named: dict[str, Tensor]) -> None:
    """Call every module of a gate something else."""
    for name in list(named):
        named[name.replace("reuse_module", "reuse")] = named.pop(name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lose("layers.2.reuse_module.restoration_module.k_mlp.3"), "1 of 54 .*k_mlp.3.weight"),
        (lose("blobnet.decoder.final.bias"), "1 of 54 .*blobnet.decoder.final.bias"),
        (invent, "24 of 54 published tensors are missing"),
        (dict.clear, "54 of 54 published tensors are missing"),
        (
            lambda named: named.update({f"{ENCODER}layers.1.reuse_module.decision_module"
                                        ".blocks.1.0.weight": torch.ones(80, 6)}),
            r"expected \[160, 6\], got \[80, 6\]",
        ),
        (
            lambda named: named.update({"other.blobnet.decoder.final.bias": torch.ones(1)}),
            "two tensors",
        ),
        (
            lambda named: named.update({f"{ENCODER}layers.1.reuse_module.decision_module"
                                        ".blocks.1.0.bias": torch.full((160,), torch.nan)}),
            "layers.1.*blocks.1.0.bias: holds values that are not finite",
        ),
    ],
)  # fmt: skip
def test_what_is_not_whole_is_refused_and_fills_nothing(change: Change, said: str) -> None:
    named, modules = made_names(3, 32), small()
    before = {name: value.clone() for name, value in modules.state_dict().items()}
    change(named)
    with pytest.raises(ModelError, match=said):
        fill_published(named, modules)
    assert all(torch.equal(value, before[name]) for name, value in modules.state_dict().items())


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.ckpt").write_bytes(b"x")
    with pytest.raises(ModelError, match="cannot be read"):
        import_published(tmp_path / "bad.ckpt", small())
