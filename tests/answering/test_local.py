"""A vision-language model in Hugging Face's format, of random weights: asked as a large one is."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoTokenizer,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from engine.answering.chat import ChatTurn, TurnPart, Wish, as_jpeg
from engine.answering.local import LocalModel
from engine.errors import ModelError
from engine.vision.backbone.locate import BUILTIN

TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}\n"
    "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaVA of two small towers."""
    made = tmp_path_factory.mktemp("llava")
    tokenizer = AutoTokenizer.from_pretrained(BUILTIN)
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    tokenizer.pad_token = tokenizer.eos_token
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        image_size=28, patch_size=14,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=512,
        eos_token_id=tokenizer.eos_token_id, bos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    torch.manual_seed(3)
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=vision,
            text_config=text,
            image_token_index=image_token,
            vision_feature_layer=-1,
        )
    )
    model.generation_config.eos_token_id = None
    model.save_pretrained(made)
    size = {"height": 28, "width": 28}
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size=size, crop_size=size), tokenizer, patch_size=14,
        vision_feature_select_strategy="default", chat_template=TEMPLATE,
        num_additional_image_tokens=1,
    )  # fmt: skip
    processor.save_pretrained(made)
    return made


def test_it_replies_to_words_and_pictures(folder: Path) -> None:
    model = LocalModel.load(str(folder), device="cpu")
    heard: list[str] = []
    dark, bright = (as_jpeg(np.full((40, 60, 3), value, np.uint8)) for value in (5, 250))

    def ask(*pictures: bytes) -> str:
        turn = ChatTurn(
            "user", (TurnPart("which?"), *(TurnPart(picture=each) for each in pictures))
        )
        return model.reply([ChatTurn.of("hi"), ChatTurn.of("yes", "assistant"), turn], Wish(12))

    assert ask(dark) == ask(dark)
    assert ask(dark) != ask(bright)  # it sees
    said = model.reply([ChatTurn.of("what?")], Wish(12), heard.append)
    assert "".join(heard) == said
    assert len(heard) > 1


def test_what_is_no_such_model_is_said(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ModelError, match="is no vision-language model to ask"):
        LocalModel.load(str(BUILTIN), device="cpu")
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in folder.iterdir():
        if path.name != "chat_template.jinja":
            (bare / path.name).symlink_to(path)
    with pytest.raises(ModelError, match="has no chat template, so it cannot be asked"):
        LocalModel.load(str(bare), device="cpu")
