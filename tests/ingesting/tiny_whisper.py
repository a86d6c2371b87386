"""A Whisper model of the real kind that was never trained, in CTranslate2's format."""

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizerFast,
)
from transformers.models.whisper.tokenization_whisper import LANGUAGES

END = "<|endoftext|>"
TASKS = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")


def made_whisper(folder: Path) -> Path:
    """Make one from a random configuration and convert it, as a user converts a trained one."""
    from ctranslate2.converters import TransformersConverter

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = Tokenizer(models.BPE(vocab={each: n for n, each in enumerate(letters)}, merges=[]))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    languages = [f"<|{code}|>" for code in list(LANGUAGES)[:99]]
    marks = [END, "<|startoftranscript|>", *languages, *(f"<|{task}|>" for task in TASKS)]
    words.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    times = [f"<|{n * 0.02:.2f}|>" for n in range(1501)]
    words.add_tokens([AddedToken(each, special=False, normalized=False) for each in times])
    ends = dict.fromkeys(("unk_token", "bos_token", "eos_token", "pad_token"), END)
    tokenizer = WhisperTokenizerFast(tokenizer_object=words, **ends)
    end, begin = words.token_to_id(END), words.token_to_id("<|startoftranscript|>")
    ids = {
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "decoder_start_token_id": begin,
    }
    layers = {f"{part}_layers": 1 for part in ("encoder", "decoder")}
    heads = {f"{part}_attention_heads": 2 for part in ("encoder", "decoder")}
    widths = {f"{part}_ffn_dim": 64 for part in ("encoder", "decoder")}
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=len(tokenizer), d_model=32, suppress_tokens=None, begin_suppress_tokens=None,
            **layers, **heads, **widths, **ids,
        )
    )  # fmt: skip
    told = GenerationConfig(**ids)
    told.lang_to_id = {mark: words.token_to_id(mark) for mark in languages}
    told.alignment_heads, told.suppress_tokens, told.begin_suppress_tokens = [[0, 0]], [], []
    told.no_timestamps_token_id = words.token_to_id("<|notimestamps|>")
    model.generation_config = told
    for part in (model, tokenizer, WhisperFeatureExtractor(feature_size=80)):
        part.save_pretrained(folder / "hf")
    converter = TransformersConverter(
        str(folder / "hf"), copy_files=["tokenizer.json", "preprocessor_config.json"]
    )
    converter.convert(str(folder / "whisper"))
    return folder / "whisper"
