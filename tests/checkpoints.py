"""Tiny random checkpoints as Hugging Face's libraries store them: CLIP, and SigLIP of both ages."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPModel,
    GemmaTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

WORDS = [*["<pad>", "a", "red", "circle", "blue", "square", "dog"], "<start>", "<end>"]
SHAPE = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
SHAPE |= {"intermediate_size": 64}
VISION = SHAPE | {"image_size": 32, "patch_size": 8}


def tiny_clip(folder: Path, kind: type[PreTrainedModel] = CLIPModel) -> Path:
    """Store a CLIP, or one of its shape, whose processor shortens the shorter edge and crops."""
    start, end = WORDS.index("<start>"), WORDS.index("<end>")
    ids = {"bos_token_id": start, "eos_token_id": end, "pad_token_id": 0}
    text = SHAPE | ids | {"vocab_size": len(WORDS), "max_position_embeddings": 12}
    torch.manual_seed(3)
    config = kind.config_class(text_config=text, vision_config=VISION, projection_dim=16)
    kind(config).save_pretrained(folder)
    save_words(folder, WORDS)
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    CLIPImageProcessorPil(**size).save_pretrained(folder)
    return folder


def save_words(folder: Path, words: list[str], *, ends: bool = True) -> None:
    """Store a tokenizer of whole words, the last of them the end of every text."""
    known = Tokenizer(models.WordLevel({w: at for at, w in enumerate(words)}, unk_token="a"))
    known.pre_tokenizer = pre_tokenizers.Whitespace()
    if ends:
        special = [(word, words.index(word)) for word in ("<start>", "<end>")]
        known.post_processor = processors.TemplateProcessing(
            single="<start> $A <end>", special_tokens=special
        )
    PreTrainedTokenizerFast(
        tokenizer_object=known, pad_token="<pad>", eos_token="<end>"
    ).save_pretrained(folder)


def tiny_siglip(folder: Path, *, padding_side: str = "right") -> Path:
    """Store a SigLIP as SigLIP 2's checkpoints of one resolution are: with Gemma's tokenizer."""
    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *"▁abcdefghijklmnopqrstuvwxyz,."]
    GemmaTokenizer(
        vocab={word: at for at, word in enumerate(words)},
        merges=[],
        add_bos_token=False,
        add_eos_token=True,
        padding_side=padding_side,
    ).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    SiglipImageProcessorPil(size=size, resample=2).save_pretrained(folder)
    ids = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    text = SHAPE | ids | {"vocab_size": len(words), "max_position_embeddings": 24}
    torch.manual_seed(4)
    SiglipModel(SiglipConfig(text_config=text, vision_config=VISION)).save_pretrained(folder)
    return folder
