"""Published VideoMAE checkpoints: made from transformers' weights by hand, and read back."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import VideoMAEConfig, VideoMAEForVideoClassification

from engine.errors import ModelError
from engine.training.action.published import read_videomae

NAMES = {
    "layernorm_before": "norm1",
    "attention.output.dense": "attn.proj",
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}


def transformers_model() -> VideoMAEForVideoClassification:
    config = VideoMAEConfig(
        hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96,
        image_size=32, patch_size=8, num_frames=6, num_labels=3, layer_norm_eps=1e-6,
    )  # fmt: skip
    model = VideoMAEForVideoClassification(config).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.1, generator=generator)
    return model


def published(model: VideoMAEForVideoClassification) -> dict[str, Tensor]:
    """The same weights by the names of the authors' code."""
    told = {}
    with TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        theirs = load_file(Path(folder) / "model.safetensors")
    for kind in ("weight", "bias"):
        base = "videomae.embeddings.patch_embeddings.projection"
        told[f"patch_embed.proj.{kind}"] = theirs[f"{base}.{kind}"]
        told[f"fc_norm.{kind}"] = theirs[f"fc_norm.{kind}"]
        told[f"head.{kind}"] = theirs[f"classifier.{kind}"]
        for layer in range(2):
            for name, other in NAMES.items():
                key = f"videomae.encoder.layer.{layer}.{name}.{kind}"
                told[f"blocks.{layer}.{other}.{kind}"] = theirs[key]
    for layer in range(2):
        inner = f"videomae.encoder.layer.{layer}.attention.attention"
        rows = [theirs[f"{inner}.{part}.weight"] for part in ("query", "key", "value")]
        told[f"blocks.{layer}.attn.qkv.weight"] = torch.cat(rows)
        for part in "qv":
            told[f"blocks.{layer}.attn.{part}_bias"] = theirs[f"{inner}.{part}_bias"]
    return told


@pytest.mark.parametrize("wrapper", [None, "module", "model"])
def test_it_equals_transformers(tmp_path: Path, wrapper: str | None) -> None:
    model = transformers_model()
    state: Any = published(model)
    torch.save(state if wrapper is None else {wrapper: state, "epoch": 3}, tmp_path / "a.pth")
    tower = read_videomae(tmp_path / "a.pth", frames=6, size=32)
    values = torch.randn(2, 6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        exact = model(values).logits
    torch.testing.assert_close(tower(values), exact, rtol=1e-5, atol=2e-5)
    assert float(exact.std()) > 0.03


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"head.weight": None}, "lacks head.weight; allowed: a fine-tuned VideoMAE"),
        ({"blocks.1.attn.v_bias": None}, "lacks blocks.1.attn.v_bias"),
        ({"blocks.1.norm2.bias": None}, r"missing \['layers.1.norm2.bias'\]"),
        ({"decoder.norm.bias": torch.ones(1)}, "unknown tensor 'decoder.norm.bias'"),
        ({"fc_norm.bias": torch.ones(3)}, r"post.bias is \(3,\), not \(128,\)"),
        ({"head.bias": "text"}, r"missing \['head.bias'\]"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    state = published(transformers_model()) | change
    kept = {name: tensor for name, tensor in state.items() if tensor is not None}
    torch.save(kept, tmp_path / "a.pth")
    with pytest.raises(ModelError, match=said):
        read_videomae(tmp_path / "a.pth", frames=6, size=32)


def test_other_clips_and_other_files_are_refused(tmp_path: Path) -> None:
    torch.save(published(transformers_model()), tmp_path / "a.pth")
    with pytest.raises(ModelError, match="5 frames of 32 pixels in tubelets of 2"):
        read_videomae(tmp_path / "a.pth", frames=5, size=32)
    (tmp_path / "b.pth").write_bytes(b"nothing")
    torch.save({"model": {"epoch": 3}}, tmp_path / "c.pth")
    for name, said in (("b.pth", "cannot be read"), ("c.pth", "holds no tensors by name")):
        with pytest.raises(ModelError, match=said):
            read_videomae(tmp_path / name, frames=6, size=32)
