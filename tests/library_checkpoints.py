"""Tiny random checkpoints of models that run by transformers' own classes."""

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from transformers import (
    EmbeddingGemma2Config,
    EmbeddingGemma2Model,
    PreTrainedTokenizerFast,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Siglip2Config,
    Siglip2Model,
    VideoPrismClipModel,
    VideoPrismConfig,
    XCLIPConfig,
    XCLIPModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

from engine.vision.backbone.folder import write_json
from tests.checkpoints import SHAPE, WORDS, save_words

LETTERS = [
    "<pad>",
    "<eos>",
    "<bos>",
    "<unk>",
    "<mask>",
    *"abcdefghijklmnopqrstuvwxyz.,:|'?_ ",
    "\n",
]


def save_letters(folder: Path, special: tuple[str, ...], *, bos: bool, eos: bool) -> list[str]:
    """Store a tokenizer of single letters and special tokens; return all, by their ids."""
    words = [*LETTERS, *(chr(each) for each in range(65, 91)), *special]
    known = Tokenizer(models.WordLevel({w: at for at, w in enumerate(words)}, unk_token="<unk>"))
    known.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    known.add_special_tokens([AddedToken(each, normalized=False) for each in special])
    if bos or eos:
        known.post_processor = processors.TemplateProcessing(
            single=" ".join(["<bos>"] * bos + ["$A"] + ["<eos>"] * eos),
            special_tokens=[("<bos>", 2), ("<eos>", 1)],
        )
    PreTrainedTokenizerFast(
        tokenizer_object=known, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>"
    ).save_pretrained(folder)
    return words


def tiny_naflex(folder: Path) -> Path:
    """Store a SigLIP 2 whose pictures keep their shape."""
    words = save_letters(folder, (), bos=False, eos=True)
    torch.manual_seed(5)
    text = SHAPE | {"vocab_size": len(words), "max_position_embeddings": 24}
    ids = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    vision = SHAPE | {"patch_size": 8, "num_patches": 36}
    Siglip2Model(Siglip2Config(text_config=text | ids, vision_config=vision)).save_pretrained(
        folder
    )
    Siglip2ImageProcessorPil(patch_size=8, max_num_patches=40).save_pretrained(folder)
    return folder


def tiny_x_clip(folder: Path) -> Path:
    """Store an X-CLIP of four pictures."""
    start, end = WORDS.index("<start>"), WORDS.index("<end>")
    ids = {"bos_token_id": start, "eos_token_id": end, "pad_token_id": 0}
    text = SHAPE | ids | {"vocab_size": len(WORDS), "max_position_embeddings": 12}
    seen = SHAPE | {"image_size": 32, "patch_size": 8, "num_frames": 4, "mit_hidden_size": 16}
    seen |= {"mit_intermediate_size": 32, "mit_num_hidden_layers": 1, "mit_num_attention_heads": 2}
    torch.manual_seed(6)
    config = XCLIPConfig(text_config=text, vision_config=seen, projection_dim=16)
    XCLIPModel(config).save_pretrained(folder)
    save_words(folder, WORDS)
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    CLIPImageProcessorPil(**size).save_pretrained(folder)
    return folder


def tiny_videoprism(folder: Path) -> Path:
    """Store a VideoPrism of four pictures, with what its video processor is told."""
    words = save_letters(folder, (), bos=False, eos=False)
    text = SHAPE | {"vocab_size": len(words), "max_position_embeddings": 24}
    seen = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    seen |= {"image_size": 32, "tubelet_size": [1, 8, 8], "num_frames": 4}
    seen |= {"num_spatial_layers": 2, "num_temporal_layers": 1, "num_auxiliary_layers": 1}
    torch.manual_seed(7)
    config = VideoPrismConfig(text_config=text, vision_config=seen)
    VideoPrismClipModel(config).save_pretrained(folder)
    told = {"size": {"height": 32, "width": 32}, "do_normalize": False, "resample": 3}
    write_json(folder / "video_preprocessor_config.json", told)
    return folder


def tiny_gemma(folder: Path) -> Path:
    """Store an EmbeddingGemma 2 without ears."""
    special = ("<|image>", "<image|>", "<|image|>", "<|video|>")
    words = save_letters(folder, special, bos=True, eos=True)
    begin, end, soft, moving = (words.index(each) for each in special)
    text = SHAPE | {"vocab_size": len(words), "num_key_value_heads": 1, "head_dim": 16}
    text |= {"global_head_dim": 16, "embedding_dim": 24, "hidden_size_per_layer_input": 8}
    text |= {"num_hidden_layers": 2, "sliding_window": 4, "sliding_window_pattern": 2}
    seen = {"model_type": "gemma4_vision", "hidden_size": 32, "intermediate_size": 64}
    seen |= {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    seen |= {"head_dim": 16, "patch_size": 4, "pooling_kernel_size": 2}
    seen |= {"position_embedding_size": 128}
    torch.manual_seed(8)
    config = EmbeddingGemma2Config(
        text_config=text, vision_config=seen, boi_token_id=begin, eoi_token_id=end,
        image_token_id=soft, video_token_id=moving, audio_token_id=None,
    )  # fmt: skip
    EmbeddingGemma2Model(config).save_pretrained(folder)
    made = Gemma4ImageProcessorPil(patch_size=4, max_soft_tokens=70, pooling_kernel_size=2)
    write_json(folder / "processor_config.json", {"image_processor": made.to_dict()})
    return folder


def tiny_qwen(folder: Path) -> Path:
    """Store a Qwen3-VL as its embedding checkpoints are: with the head that nobody asks."""
    special = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>")
    special += ("<|image_pad|>", "<|video_pad|>")
    words = save_letters(folder, special, bos=False, eos=False)
    of = {name: words.index(name) for name in special}
    text = SHAPE | {"vocab_size": len(words), "num_key_value_heads": 1, "head_dim": 16}
    text |= {
        "num_hidden_layers": 2,
        "rope_parameters": {"rope_type": "default", "mrope_section": [4, 2, 2]},
    }
    seen = {"hidden_size": 32, "out_hidden_size": 32, "depth": 2, "num_heads": 2}
    seen |= {"intermediate_size": 64, "patch_size": 8, "num_position_embeddings": 64}
    seen |= {"deepstack_visual_indexes": [0]}
    torch.manual_seed(9)
    config = Qwen3VLConfig(
        text_config=text, vision_config=seen, image_token_id=of["<|image_pad|>"],
        video_token_id=of["<|video_pad|>"], vision_start_token_id=of["<|vision_start|>"],
        vision_end_token_id=of["<|vision_end|>"],
    )  # fmt: skip
    Qwen3VLForConditionalGeneration(config).save_pretrained(folder)
    Qwen2VLImageProcessorPil(patch_size=8, merge_size=2).save_pretrained(folder)
    return folder


TINY = {
    "naflex": tiny_naflex,
    "x_clip": tiny_x_clip,
    "videoprism": tiny_videoprism,
    "gemma": tiny_gemma,
    "qwen": tiny_qwen,
}
