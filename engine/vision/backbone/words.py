"""The tokenizer of a folder, held against the text tower that it is for."""

import gzip
import html
import string
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoTokenizer, CLIPTokenizer

from engine.errors import ModelError
from engine.vision.backbone.text import TextConfig, Words

PROBE = "a red circle"
_KINDS = ("tokenizer.json", "vocab.json", "*.model")  # without one transformers makes up its own
_MERGES = 49_152 - 256 - 2  # of open_clip's file, which has more
_SPECIAL = ("<|startoftext|>", "<|endoftext|>")
_BARE = str.maketrans("_", " ", string.punctuation.replace("_", ""))


def written(text: str, words: Words) -> str:
    """Return a text as its model learned texts, before it is cut into tokens.

    `small` is in small letters alone, for not all tokenizers make them. The others do as open_clip
    does: `spaced` has single spaces and no HTML entities, `lower` small letters besides, `bare` no
    punctuation either.
    """
    if words in ("as_given", "small"):
        return text if words == "as_given" else text.lower()
    text = html.unescape(html.unescape(text)).strip()
    if words == "bare":
        text = text.translate(_BARE)
    text = " ".join(text.split())
    return text if words == "spaced" else text.lower()


def load_tokenizer(folder: Path, config: TextConfig) -> Any:
    """Load a folder's tokenizer; one that is another model's is refused."""
    if config.words == "lower" and not _has_tokenizer(folder):
        return _open_clip_words(folder, config)
    tokenizer = read_tokenizer(folder)
    check_tokenizer(tokenizer, config, folder)
    return tokenizer


def _has_tokenizer(folder: Path) -> bool:
    return any(found for kind in _KINDS for found in folder.glob(kind))


def read_tokenizer(folder: Path) -> Any:
    """Read a folder's tokenizer as it is."""
    if not _has_tokenizer(folder):
        raise ModelError(f"no tokenizer in {folder}; allowed: {', '.join(_KINDS)}")
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        if isinstance(error, ImportError) and "sentencepiece" in reason.lower():
            reason = "it needs SentencePiece: pip install sentencepiece"  # as the first SigLIP's
        raise ModelError(f"{folder}: the tokenizer cannot be read: {reason}") from error


def _open_clip_words(folder: Path, config: TextConfig) -> Any:
    """CLIP's own tokens from the file that open_clip ships; nothing of it is imported."""
    found = find_spec("open_clip")
    if found is None or found.origin is None:
        raise ModelError(
            f"no tokenizer in {folder}; allowed: {', '.join(_KINDS)}, or CLIP's own of open_clip:"
            " pip install dejavu-engine[open-clip]"
        )
    with gzip.open(Path(found.origin).with_name("bpe_simple_vocab_16e6.txt.gz"), "rt") as file:
        merges = file.read().split("\n")[1 : _MERGES + 1]
    letters = sorted(ByteLevel.alphabet())
    known = [*letters, *(f"{letter}</w>" for letter in letters)]
    known += [*(merge.replace(" ", "") for merge in merges), *_SPECIAL]
    vocabulary = {token: at for at, token in enumerate(known)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[tuple(m.split()) for m in merges])
    check_tokenizer(tokenizer, config, folder)
    return tokenizer


def check_tokenizer(tokenizer: Any, config: TextConfig, folder: Path) -> None:
    """Refuse a tokenizer with more tokens than the tower, or without the end that it pools at."""
    if len(tokenizer) > config.vocabulary:
        raise ModelError(
            f"{folder}: the tokenizer knows {len(tokenizer)} tokens, the text tower"
            f" {config.vocabulary}: it is another model's"
        )
    if tokenizer.pad_token_id is None:
        raise ModelError(f"{folder}: the tokenizer has no token to pad with")
    end = config.end_token if config.pooling == "end" else tokenizer.eos_token_id
    if end not in tokenizer(PROBE)["input_ids"]:
        raise ModelError(
            f"{folder}: the tokenizer puts no end token ({end}) after a text: it is another"
            " model's, or its settings are"
        )
