"""Checkpoints of ViViT and ViTDet by their authors' names: read back, and what is wrong refused."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import VitDetConfig, VitDetModel
from typer.testing import CliRunner

from api.cli.checkpoint import app
from engine.errors import ModelError
from engine.vision.action import load_action_model
from engine.vision.backbone.factorised import FactorisedConfig, FactorisedTower, spatial_shape
from engine.vision.backbone.factorised_files import read_factorised
from engine.vision.backbone.windowed import load_windowed
from engine.vision.backbone.windowed_published import import_windowed

PARTS = {
    "norm1": "norm",
    "qkv": "attn.to_qkv",
    "out": "attn.proj",
    "norm2": "norm_ffn",
    "up": "ffn.net.0",
    "down": "ffn.net.3",
}


def vivit() -> FactorisedTower:
    made = FactorisedTower(FactorisedConfig(spatial_shape(2, 64, 1, 96, 8, 2, 24), 6, 1, 3))
    generator = torch.Generator().manual_seed(1)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.1, generator=generator)
    return made.requires_grad_(False).eval()


def published(made: FactorisedTower) -> dict[str, Tensor]:
    """The same weights by the names that TAdaConv writes."""
    state, told = made.state_dict(), {}
    told["backbone.stem.conv1.weight"] = state["spatial.patch.weight"].view(64, 3, 2, 8, 8)
    told["backbone.stem.conv1.bias"] = state["spatial.patch.bias"]
    for ours, (token, table, norm, layers) in {
        "spatial": ("cls_token", "pos_embd", "norm", "layers"),
        "temporal": ("cls_token_out", "temp_embd", "norm_out", "layers_temporal"),
    }.items():
        told[f"backbone.{token}"] = state[f"{ours}.class_token"][None, None]
        told[f"backbone.{table}"] = state[f"{ours}.position"][None]
        for kind in ("weight", "bias"):
            told[f"backbone.{norm}.{kind}"] = state[f"{ours}.post.{kind}"]
            for at in range(2 if ours == "spatial" else 1):
                for name, theirs in PARTS.items():
                    key = f"backbone.{layers}.{at}.{theirs}.{kind}"
                    told[key] = state[f"{ours}.layers.{at}.{name}.{kind}"]
    for kind in ("weight", "bias"):
        told[f"head.linear.{kind}"] = state[f"head.{kind}"]
    return told


def test_a_published_vivit_becomes_a_folder_that_classifies_alike(tmp_path: Path) -> None:
    made, file, labels = vivit(), tmp_path / "k400.pyth", tmp_path / "labels.txt"
    torch.save({"model_state": published(made)}, file)
    labels.write_text("opening\nclosing\ncutting\n")
    folder = tmp_path / "vivit"
    done = CliRunner().invoke(app, ["vivit", str(file), str(folder), "--labels", str(labels)])
    assert done.exit_code == 0, done.output
    model = load_action_model(str(folder), device="cpu")
    assert model.labels == ("opening", "closing", "cutting")
    assert (model.fps, model.seconds) == (15.0, 6 / 15)
    generator = torch.Generator().manual_seed(2)
    clips = torch.randint(0, 256, (2, 6, 3, 24, 24), dtype=torch.uint8, generator=generator)
    expected = made(made.normalise(clips)).softmax(-1)
    torch.testing.assert_close(model.classify(clips), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("drop", "add", "said"),
    [
        ("backbone.temp_embd", None, "lacks backbone.temp_embd"),
        ("backbone.layers.1.norm_ffn.bias", None, "missing .*spatial.layers.1.norm2.bias"),
        (None, "head.linear2.weight", "unknown tensor 'head.linear2.weight'"),
    ],
)
def test_a_vivit_that_is_not_whole_is_refused(
    tmp_path: Path, drop: str | None, add: str | None, said: str
) -> None:
    state = published(vivit())
    if drop:
        del state[drop]
    if add:
        state[add] = torch.zeros(3, 64)
    torch.save(state, tmp_path / "file.pth")
    with pytest.raises(ModelError, match=said):
        read_factorised(tmp_path / "file.pth")


def detectron(folder: Path) -> tuple[VitDetModel, dict[str, Tensor]]:
    shape = VitDetConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, mlp_ratio=2, image_size=40,
        pretrain_image_size=32, patch_size=8, window_size=2, window_block_indices=[0, 1],
        use_relative_position_embeddings=True,
    )  # fmt: skip
    model = VitDetModel(shape).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.2, generator=generator)
    told = {}
    for name, tensor in model.state_dict().items():
        theirs = (
            name.replace("embeddings.projection", "patch_embed.proj")
            .replace("embeddings.position_embeddings", "pos_embed")
            .replace("encoder.layer.", "blocks.")
            .replace("attention.", "attn.")
        )
        told[f"backbone.net.{theirs}"] = tensor
    told["backbone.simfp_2.0.weight"] = torch.zeros(2)
    torch.save({"model": told}, folder / "vitdet.pth")
    return model, told


def test_a_published_vitdet_becomes_a_folder_that_transformers_reads_alike(tmp_path: Path) -> None:
    model, _ = detectron(tmp_path)
    left = import_windowed(tmp_path / "vitdet.pth", tmp_path / "tower")
    assert left == ("backbone.simfp_2.0.weight",)
    values = torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        theirs = model(values).last_hidden_state.flatten(2).transpose(1, 2)
        torch.testing.assert_close(
            load_windowed(tmp_path / "tower")(values), theirs, rtol=1e-5, atol=2e-5
        )
        again = VitDetModel.from_pretrained(tmp_path / "tower")
        back = again(values).last_hidden_state.flatten(2).transpose(1, 2)
        torch.testing.assert_close(back, theirs)


def test_a_vitdet_at_another_size_has_its_relative_positions_interpolated(tmp_path: Path) -> None:
    detectron(tmp_path)
    import_windowed(tmp_path / "vitdet.pth", tmp_path / "tower", size=64)
    tower = load_windowed(tmp_path / "tower")
    assert tower.config.side == 8
    assert tower.layer(2).down_by.shape == (15, 16)
    assert tower.layer(0).down_by.shape == (3, 16)
    assert tower(torch.zeros(1, 3, 64, 64)).shape == (1, 64, 32)


@pytest.mark.parametrize(
    ("drop", "add", "said"),
    [
        ("blocks.1.attn.rel_pos_w", None, r"lacks backbone.net.blocks.1.attn.rel_pos_w"),
        ("pos_embed", None, "lacks .*pos_embed"),
        (None, "blocks.1.ls1.gamma", "unknown tensor 'backbone.net.blocks.1.ls1.gamma'"),
    ],
)
def test_a_vitdet_that_is_not_whole_is_refused(
    tmp_path: Path, drop: str | None, add: str | None, said: str
) -> None:
    _, told = detectron(tmp_path)
    if drop:
        del told[f"backbone.net.{drop}"]
    if add:
        told[f"backbone.net.{add}"] = torch.zeros(2)
    torch.save(told, tmp_path / "bad.pth")
    with pytest.raises(ModelError, match=said):
        import_windowed(tmp_path / "bad.pth", tmp_path / "tower")
