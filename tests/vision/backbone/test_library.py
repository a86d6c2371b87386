"""Models by transformers' own classes: pictures and texts as its processors and forwards have."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    AutoTokenizer,
    EmbeddingGemma2Model,
    PreTrainedModel,
    Qwen3VLModel,
    Siglip2Model,
    VideoPrismClipModel,
    XCLIPModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.gemma4.image_processing_pil_gemma4 import (
    Gemma4ImageProcessorPil,
    get_aspect_ratio_preserving_size,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
    Qwen2VLImageProcessorPil,
    smart_resize,
)
from transformers.models.siglip2.image_processing_pil_siglip2 import (
    Siglip2ImageProcessorPil,
    get_image_size_for_max_num_patches,
)

from engine.errors import ModelError, UsageError, VideoError
from engine.vision.backbone.fit import Fit
from engine.vision.backbone.folder import write_json
from engine.vision.model import Model, load_model
from engine.vision.registry import build_strategy
from engine.vision.streaming.strategy import Chunk
from tests.library_checkpoints import TINY

TEXTS = ["a dog", "Two people, talking. at night", "x"]
SHAPES = ((90, 160), (90, 160), (160, 90), (64, 64), (33, 200))
OFF = 2e-3  # between unit vectors of pictures that two libraries resized, which rounds otherwise


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in TINY.items()}


def pictures(seed: int, shapes: Any = SHAPES) -> list[NDArray[np.uint8]]:
    """Smooth pictures, as photographs are, of several shapes."""
    random = np.random.default_rng(seed)
    made = []
    for height, width in shapes:
        coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        made.append(np.array(coarse.resize((width, height), Image.Resampling.BICUBIC)))
    return made


def own(kind: type[PreTrainedModel], folder: Path) -> PreTrainedModel:
    return kind.from_pretrained(folder).eval()


def ids(folder: Path, texts: list[str], **how: Any) -> dict[str, Tensor]:
    given = {"padding": True, "padding_side": "right", **how}
    found = AutoTokenizer.from_pretrained(folder)(texts, return_tensors="pt", **given)
    return {"input_ids": found["input_ids"], "attention_mask": found["attention_mask"]}


def naflex(folder: Path, images: list[Any], texts: list[str]) -> tuple[Tensor, Tensor]:
    model, process = own(Siglip2Model, folder), Siglip2ImageProcessorPil.from_pretrained(folder)
    seen = process(images, return_tensors="pt")  # padded to the most patches
    assert seen["pixel_values"].shape[1] == 40
    small = ids(folder, [text.lower() for text in texts], padding="max_length", max_length=24,
                truncation=True)  # fmt: skip
    return (
        model.get_image_features(**seen).pooler_output,
        model.get_text_features(small["input_ids"]).pooler_output,
    )


def gemma(folder: Path, images: list[Any], texts: list[str]) -> tuple[Tensor, Tensor]:
    model = own(EmbeddingGemma2Model, folder)
    process = Gemma4ImageProcessorPil(patch_size=4, max_soft_tokens=70, pooling_kernel_size=2)
    seen = process(images, return_tensors="pt")
    counts = seen.pop("num_soft_tokens_per_image")
    asked = ids(folder, [f"<|image>{'<|image|>' * int(n)}<image|>" for n in counts])
    words = ids(folder, [f"task: search result | query: {text}" for text in texts])
    return mean_of(model, asked, seen), mean_of(model, words, {})


def mean_of(model: PreTrainedModel, asked: dict[str, Tensor], seen: Any) -> Tensor:
    found = model(**asked, **seen).last_hidden_state
    return torch.stack([
        row[there.bool()].mean(0) for row, there in zip(found, asked["attention_mask"], strict=True)
    ])  # fmt: skip


def qwen(folder: Path, images: list[Any], texts: list[str]) -> tuple[Tensor, Tensor]:
    model = own(Qwen3VLModel, folder)
    size = {"shortest_edge": 4 * 16**2, "longest_edge": 1800 * 16**2}
    process = Qwen2VLImageProcessorPil.from_pretrained(folder, size=size)
    turn = "<|im_start|>system\n{}<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n"
    turn += "<|im_start|>assistant\n"
    seen = []
    for image in images:  # one by one: nothing is padded, so the last token is the last
        given = process([image], return_tensors="pt")
        soft = "<|image_pad|>" * int(given["image_grid_thw"].prod() // 4)
        content = f"<|vision_start|>{soft}<|vision_end|>"
        asked = ids(folder, [turn.format("Represent the user's input.", content)])
        kinds = (asked["input_ids"] == model.config.image_token_id).int()
        seen.append(model(**asked, **given, mm_token_type_ids=kinds).last_hidden_state[:, -1])
    told = "Retrieve images or text relevant to the user's query."
    said = [model(**ids(folder, [turn.format(told, text)])) for text in texts]
    return torch.cat(seen), torch.cat([each.last_hidden_state[:, -1] for each in said])


def x_clip(folder: Path, images: list[Any], texts: list[str]) -> tuple[Tensor, Tensor]:
    model, process = own(XCLIPModel, folder), CLIPImageProcessorPil.from_pretrained(folder)
    values = process(images, return_tensors="pt")["pixel_values"]
    still = values[:, None].expand(-1, 4, -1, -1, -1)
    return (
        model.get_video_features(still).pooler_output,
        model.get_text_features(**ids(folder, texts, max_length=12, truncation=True)).pooler_output,
    )


def videoprism(folder: Path, images: list[Any], texts: list[str]) -> tuple[Tensor, Tensor]:
    model = own(VideoPrismClipModel, folder)
    process = CLIPImageProcessorPil(
        size={"height": 32, "width": 32}, do_center_crop=False, do_normalize=False
    )
    values = process(images, return_tensors="pt")["pixel_values"]
    words = ids(folder, texts, padding="max_length", max_length=24, truncation=True)
    return (
        model.get_video_features(values[:, None].expand(-1, 4, -1, -1, -1)).pooler_output[:, 0],
        model.get_text_features(**words).pooler_output,
    )


LIBRARY = {"naflex": naflex, "gemma": gemma, "qwen": qwen, "x_clip": x_clip}
LIBRARY |= {"videoprism": videoprism}


@pytest.mark.parametrize("name", TINY)
@torch.inference_mode()
def test_pictures_and_texts_are_the_librarys(name: str, folders: dict[str, Path]) -> None:
    model, images = load_model(str(folders[name]), device="cpu"), pictures(1)
    seen, said = LIBRARY[name](folders[name], images, TEXTS)
    ours, words = model.embed_images(images), model.embed_texts(TEXTS)
    assert ours.shape == (5, model.space.dimension)
    off = np.abs(ours - F.normalize(seen, dim=-1).numpy()).max()
    assert off < OFF
    np.testing.assert_allclose(words, F.normalize(said, dim=-1).numpy(), atol=1e-5)
    spread = (ours[:, None] - ours[None]).max(-1)[~np.eye(5, dtype=bool)]
    assert spread.max() > 10 * off  # other pictures have other vectors


def strategy_of(model: Model) -> Any:
    return build_strategy("dense", model.tower)


@pytest.mark.parametrize("name", TINY)
def test_streams_of_other_shapes_share_a_turn(name: str, folders: dict[str, Path]) -> None:
    model = load_model(str(folders[name]), device="cpu")
    held, size = model.preprocessing.pictures, min(model.preprocessing.size, 64)
    shapes = [(size, size), (size // 2, size)] if model.preprocessing.fit else [(size, size)] * 2
    step = model.preprocessing.fit.multiple if model.preprocessing.fit else 1
    random, chunks = torch.Generator().manual_seed(1), []
    for (tall, wide), count in zip(shapes, (3, 2), strict=True):
        frame = (3, tall // step * step, wide // step * step)
        frame = (held, *frame) if held > 1 else frame
        pixels = torch.randint(256, (count, *frame), dtype=torch.uint8, generator=random)
        chunks.append(Chunk(pixels, last=True))
    empty = Chunk(torch.empty(0, 3, size, size, dtype=torch.uint8), last=True)
    found = strategy_of(model).encode([chunks[0], empty, chunks[1]])
    assert [len(each.embeddings) for each in found] == [3, 0, 2]
    for chunk, encoded in zip(chunks, (found[0], found[2]), strict=True):
        [alone] = strategy_of(model).encode([chunk])
        torch.testing.assert_close(encoded.embeddings, alone.embeddings, atol=1e-5, rtol=1e-4)
    with pytest.raises(UsageError, match="strategy earlygate needs a forward of ours, but "):
        build_strategy("earlygate", model.tower)


def test_edges_are_those_of_each_library() -> None:
    random = np.random.default_rng(3)
    edges = [(1, 1), (1080, 1920), (1, 300), (2160, 8)]
    edges += [tuple(each) for each in random.integers(1, 4000, (300, 2)).tolist()]
    patches, soft = Fit("naflex", 16, 256 * 16**2), Fit("gemma", 48, 280 * 48**2)
    smart = Fit("qwen", 32, most=1800 * 32**2, least=4 * 32**2)
    for height, width in edges:
        assert patches.edges(height, width) == get_image_size_for_max_num_patches(
            height, width, 16, 256
        )
        assert soft.edges(height, width) == get_aspect_ratio_preserving_size(
            height, width, 16, 280 * 9, 3
        )
        if max(height, width) <= 200 * min(height, width):
            assert smart.edges(height, width) == smart_resize(
                height, width, 32, 4 * 32**2, 1800 * 32**2
            )
        else:
            with pytest.raises(VideoError, match="at most 200 times as long as wide"):
                smart.edges(height, width)


def test_fewer_numbers_are_the_first_of_all(folders: dict[str, Path]) -> None:
    whole, cut = (load_model(f"{folders['gemma']}{by}", device="cpu") for by in ("", "?dim=8"))
    assert cut.space.key != whole.space.key
    first = whole.embed_texts(TEXTS)[:, :8]
    unit = first / np.linalg.norm(first, axis=1, keepdims=True)
    np.testing.assert_allclose(cut.embed_texts(TEXTS), unit, atol=1e-5)
    with pytest.raises(ModelError, match="dim 99; allowed: at most 24"):
        load_model(f"{folders['gemma']}?dim=99", device="cpu")


def test_the_prompt_of_a_folder_or_of_the_user_stands_before_a_query(
    folders: dict[str, Path],
) -> None:
    folder = folders["gemma"]
    asked = load_model(f"{folder}?prompt=find {{}}", device="cpu").embed_texts(["dog"])
    told = folder / "config_sentence_transformers.json"
    write_json(told, {"prompts": {"query": "find "}})
    try:
        np.testing.assert_array_equal(load_model(str(folder), device="cpu").embed_texts(["dog"]),
                                      asked)  # fmt: skip
    finally:
        told.unlink()


def test_float16_is_refused_where_it_holds_no_numbers(folders: dict[str, Path]) -> None:
    said = "EmbeddingGemma 2 gives vectors that are not numbers in float16; allowed: float32"
    with pytest.raises(ModelError, match=said):
        load_model(str(folders["gemma"]), device="cpu", dtype=torch.float16)
    with pytest.raises(UsageError, match="precision fp8 of X-CLIP; allowed: bf16, auto"):
        load_model(str(folders["x_clip"]), device="cpu", precision="fp8")


def test_weights_that_are_not_there_are_never_made_up(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    for file in folders["naflex"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    lost = "vision_model.head.probe"
    del tensors[lost]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=f"1 weights of the model are not there, such as {lost}"):
        load_model(str(tmp_path), device="cpu")
