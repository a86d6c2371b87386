"""Both towers equal transformers' own, and a folder loads as it was stored."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import (
    CLIPConfig,
    CLIPModel,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from engine.errors import ModelError, UsageError
from engine.vision.backbone.text import TextTower
from engine.vision.backbone.tower import VisionTower
from engine.vision.backbone.weights import split_towers, text_config, vision_config
from engine.vision.model import load_model, pick_device
from engine.vision.registry import build_strategy
from engine.vision.streaming.strategy import Chunk
from tests.checkpoints import tiny_clip, tiny_siglip

WORDS = ["<|pad|>", "a", "red", "circle", "blue", "square", "<|startoftext|>", "<|endoftext|>"]
HALF = (0.5, 0.5, 0.5)


def clip_config(layers: int, width: int, patch: int, **text: int) -> CLIPConfig:
    """Shape of a CLIP whose text tower is `text`."""
    return CLIPConfig(
        vision_config={
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": width // 64,
            "intermediate_size": 4 * width,
            "image_size": 224,
            "patch_size": patch,
        },
        text_config=text,
        projection_dim=text["hidden_size"],
    )


def text_shape(width: int, layers: int = 4) -> dict[str, int]:
    """Shape of CLIP's text tower of a width."""
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 64,
        "intermediate_size": 4 * width,
    }


def largest_differences(reference: nn.Module, config: dict) -> tuple[float, float]:
    """Largest absolute difference of the image and of the text features."""
    vision, text = split_towers(reference.state_dict())
    tower = VisionTower(vision_config(config, HALF, HALF)).eval()
    words = TextTower(text_config(config)).eval()
    tower.load_state_dict(vision)
    words.load_state_dict(text)
    values = torch.randn(2, 3, 224, 224)
    ids = torch.randint(3, 1000, (2, config["text_config"]["max_position_embeddings"]))
    ids[:, -1] = ids[0, 9] = config["text_config"]["eos_token_id"]
    reference.eval()
    with torch.inference_mode():
        images = reference.get_image_features(values).pooler_output - tower(values)
        texts = reference.get_text_features(ids).pooler_output - words(ids)
    return float(images.abs().max()), float(texts.abs().max())


@pytest.mark.parametrize(
    ("layers", "width", "patch", "text"),
    [
        pytest.param(4, 768, 32, text_shape(512), id="b32"),
        pytest.param(3, 768, 16, text_shape(512), id="b16"),
        pytest.param(3, 1024, 14, text_shape(768), id="l14"),
    ],
)
def test_clip_equals_transformers(layers, width, patch, text) -> None:
    torch.manual_seed(0)
    config = clip_config(layers, width, patch, **text)
    image, words = largest_differences(CLIPModel(config), config.to_dict())
    assert image < 1e-5
    assert words < 1e-5


def test_siglip_equals_transformers() -> None:
    torch.manual_seed(0)
    config = SiglipConfig(
        text_config={"bos_token_id": 0, "eos_token_id": 1, "num_hidden_layers": 3},
        vision_config={"num_hidden_layers": 3},
    )
    image, words = largest_differences(SiglipModel(config), config.to_dict())
    assert image < 1e-5
    assert words < 1e-5


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Store a tiny random CLIP as Hugging Face's libraries do."""
    path = tmp_path_factory.mktemp("tiny-clip")
    torch.manual_seed(1)
    text = text_shape(64, layers=2) | {
        "vocab_size": len(WORDS),
        "bos_token_id": 6,
        "eos_token_id": 7,
        "pad_token_id": 0,
    }
    CLIPModel(clip_config(2, 64, 32, **text)).save_pretrained(path)
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="a"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>",
        special_tokens=[("<|startoftext|>", 6), ("<|endoftext|>", 7)],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<|pad|>", eos_token="<|endoftext|>"
    ).save_pretrained(path)
    CLIPImageProcessorPil().save_pretrained(path)
    return path


def copy_with(folder: Path, target: Path, tensors: dict[str, Tensor]) -> Path:
    """Copy the model with other weights."""
    for file in folder.glob("*.json"):
        (target / file.name).write_bytes(file.read_bytes())
    save_file(tensors, target / "model.safetensors")
    return target


def test_a_folder_gives_unit_vectors_of_both_kinds(folder) -> None:
    model = load_model(str(folder), device="cpu")
    texts = model.embed_texts(["a red circle", "a blue square", "a red circle"])
    images = model.embed_images([np.full((50, 80, 3), level, np.uint8) for level in (0, 200)])
    assert texts.shape == (3, 64)
    assert images.shape == (2, 64)
    assert np.allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-6)
    assert np.allclose(np.linalg.norm(images, axis=1), 1, atol=1e-6)
    assert np.allclose(texts[0], texts[2], atol=1e-6)  # a library may sum a row by its place
    assert not np.allclose(texts[0], texts[1])
    assert model.embed_texts([]).shape == (0, 64)


def test_the_space_tells_weights_apart(folder, tmp_path) -> None:
    space = load_model(str(folder), device="cpu").space
    tensors = load_file(folder / "model.safetensors")
    tensors["visual_projection.weight"] += 1
    other = load_model(str(copy_with(folder, tmp_path, tensors)), device="cpu").space
    assert space.dimension == other.dimension == 64
    assert space.weight_hash != other.weight_hash
    assert space.key != other.key


def test_a_missing_tensor_is_named(folder, tmp_path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["vision_model.post_layernorm.bias"]
    with pytest.raises(ModelError, match=r"vision tower: missing \['post\.bias'\]"):
        load_model(str(copy_with(folder, tmp_path, tensors)), device="cpu")


def test_an_unknown_tensor_is_named(folder, tmp_path) -> None:
    tensors = load_file(folder / "model.safetensors") | {"vision_model.extra": torch.zeros(1)}
    with pytest.raises(ModelError, match=r"unknown tensor 'vision_model\.extra'"):
        load_model(str(copy_with(folder, tmp_path, tensors)), device="cpu")


def test_a_tensor_of_another_shape_is_named(folder, tmp_path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["text_model.final_layer_norm.weight"] = torch.zeros(3)
    with pytest.raises(ModelError, match=r"post\.weight is \(3,\), not \(64,\)"):
        load_model(str(copy_with(folder, tmp_path, tensors)), device="cpu")


def test_pickled_weights_are_refused(folder, tmp_path) -> None:
    for file in folder.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(ModelError, match=r"found pytorch_model\.bin; allowed: safetensors only"):
        load_model(str(tmp_path), device="cpu")


def test_other_architectures_are_refused(folder, tmp_path) -> None:
    for file in folder.glob("*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(
        ModelError,
        match="unknown model type 'bert'; allowed: clip, embedding_gemma2, metaclip_2, qwen3_vl",
    ):
        load_model(str(tmp_path), device="cpu")


def test_a_name_that_is_nothing_is_refused() -> None:
    with pytest.raises(ModelError, match="unknown model 'bulitin'; allowed: builtin"):
        load_model("bulitin")


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown device 'tpu'; allowed: auto, cpu, cuda"):
        pick_device("tpu")


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_fewer_numbers_are_the_first_of_all(kind: str, tmp_path: Path) -> None:
    folder = {"clip": tiny_clip, "siglip": tiny_siglip}[kind](tmp_path)
    whole, cut = load_model(str(folder), device="cpu"), load_model(f"{folder}?dim=9", device="cpu")
    assert cut.space.dimension == 9
    assert cut.space.key != whole.space.key
    pictures = [np.full((40, 50, 3), shade, np.uint8) for shade in (10, 200)]
    for made, all_of_it in (
        (cut.embed_images(pictures), whole.embed_images(pictures)),
        (cut.embed_texts(["a dog", "a cat"]), whole.embed_texts(["a dog", "a cat"])),
    ):
        first = all_of_it[:, :9]
        unit = first / np.linalg.norm(first, axis=1, keepdims=True)
        np.testing.assert_allclose(made, unit, atol=1e-5)
    frames = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    chunks = [Chunk(frames, last=True)]
    for name in ("dense", "earlygate", "eventful", "rgtp"):
        options = {"threshold": 0.1} if name == "earlygate" else {}
        strategy = build_strategy(name, cut.tower, options=options)
        assert strategy.encode(chunks)[0].embeddings.shape == (5, 9)
    asked = load_model(f"{folder}?prompt=a red {{}}", device="cpu")
    np.testing.assert_array_equal(asked.embed_texts(["dog"]), whole.embed_texts(["a red dog"]))
    with pytest.raises(ModelError, match="dim 99; allowed: at most"):
        load_model(f"{folder}?dim=99", device="cpu")
