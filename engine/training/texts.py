"""The built-in model's tokenizer: byte-level pairs learned from the world's own texts."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

START, END = "<|startoftext|>", "<|endoftext|>"
Ids = npt.NDArray[np.int16]


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Learn a tokenizer; every text can be told in its bytes, so nothing is unknown to it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    ends = [(name, token_id(tokenizer, name)) for name in (START, END)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=ends
    )
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str], context: int) -> Ids:
    """Token ids `[T, context]`, padded with the end token; a text too long keeps its end token."""
    end = token_id(tokenizer, END)
    ids = np.full((len(texts), context), end, dtype=np.int16)
    for row, encoded in enumerate(tokenizer.encode_batch(list(texts))):
        kept = encoded.ids[: context - 1]
        ids[row, : len(kept)] = kept
    return ids


@lru_cache(maxsize=2)
def read_tokenizer(text: str) -> Tokenizer:
    """Return a tokenizer from its JSON; a process that is told the same again has it at hand."""
    return Tokenizer.from_str(text)


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """Return the id of a token that the tokenizer is known to have."""
    return int(tokenizer.get_vocab()[token])
