"""Texts to the words that are compared: folded, and pairs of letters where nothing parts words."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

# scripts that are written without spaces: CJK, kana, Thai, Lao, Myanmar, Khmer
_UNPARTED: Final = (
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff\u3005\u3041-\u30ff\u31f0-\u31ff"
    "\u0e01-\u0e4e\u0e80-\u0eff\u1000-\u109f\u1780-\u17d3"
)
_LETTER: Final = (
    r"[^\W_]|[\u0300-\u036f\u0900-\u0963\u0966-\u0dff\u0f00-\u0fff\u064b-\u065f\u05b0-\u05c7]"
)
_WORD = re.compile(rf"(?P<run>[{_UNPARTED}]+)|(?:(?![{_UNPARTED}])(?:{_LETTER}))+")
_PLAIN = re.compile(r"[a-z0-9]+")
# letters whose accents are left out; elsewhere a mark is part of the letter, as vowels are in Thai
_ACCENTED = re.compile("([a-z\u0370-\u03ff\u0400-\u04ff])[\u0300-\u036f]+")


def tokens(text: str) -> list[str]:
    """Return the words of a text in their order, as an index holds them.

    A run of letters that nothing parts gives each letter and each pair of neighbours.
    """
    if text.isascii():
        return _PLAIN.findall(text.lower())
    return list(_tokens(fold(text), letters=True))


def words_sought(text: str) -> list[str]:
    """Return the words that a question has, each once: of an unparted run its pairs alone."""
    return list(dict.fromkeys(_tokens(fold(text), letters=False)))


def fold(text: str) -> str:
    """Return a text without differences of case, width, ligatures and accents."""
    parted = unicodedata.normalize("NFKD", text).casefold()
    parted = unicodedata.normalize("NFKD", parted)
    return unicodedata.normalize("NFC", _ACCENTED.sub(r"\1", parted))


def _tokens(text: str, *, letters: bool) -> Iterator[str]:
    for found in _WORD.finditer(text):
        word = found[0]
        if found["run"] is None:
            yield word
            continue
        if letters or len(word) == 1:
            yield from word
        yield from (word[at : at + 2] for at in range(len(word) - 1))
