"""Whether single pictures show what a question asks: by the built-in reader, or by a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from engine.answering.chat import ChatTurn, SeeingModel, TurnPart, Wish, as_jpeg
from engine.answering.choose import statements
from engine.answering.patch_reader import PatchReader
from engine.errors import LookerError
from engine.vision.backbone.preprocess import prepare

Word = Literal["yes", "no", "unclear"]
Pictures = Sequence[NDArray[np.uint8]]
_YES_NO: Final[tuple[Word, ...]] = ("yes", "no")
_ASKED: Final = "Answer with one word, yes or no: {}"


class Looker(Protocol):
    """Says of pictures whether they show something."""

    def says(self, images: Pictures, question: str) -> list[bool]:
        """Return whether the answer is yes, picture by picture."""


@dataclass(frozen=True, slots=True)
class BuiltinLooker:
    """The patch reader of a model, which weighs yes against no."""

    reader: PatchReader

    def says(self, images: Pictures, question: str) -> list[bool]:
        """Look at each picture by itself."""
        form = self.reader.model.preprocessing
        texts = statements(question, ("yes", "no"))
        found = []
        for image in images:
            tokens = self.reader.see(torch.stack([prepare(image, form)]))
            found.append(self.reader.judge(tokens, np.zeros(1), texts).choice == 0)
        return found


@dataclass(frozen=True, slots=True)
class ModelLooker:
    """A model that sees, asked in words."""

    model: SeeingModel

    def says(self, images: Pictures, question: str) -> list[bool]:
        """Ask about each picture by itself."""
        return [self._says(as_jpeg(image), question) for image in images]

    def _says(self, picture: bytes, question: str) -> bool:
        asked = ChatTurn("user", (TurnPart(_ASKED.format(question)), TurnPart(picture=picture)))
        text = self.model.reply([asked], _WORD)
        word = first_word(text, _YES_NO)
        if word is None:
            raise LookerError(
                f"{self.model.name} answered {text[:80]!r}; expected yes or no", operator="Judging"
            )
        return word == "yes"


def first_word(text: str, allowed: Sequence[Word]) -> Word | None:
    """Return the word that a reply begins with, None where it is none of those allowed.

    >>> first_word("**Yes**, it is.", ("yes", "no"))
    'yes'
    """
    word = text.strip().strip("*_\"'`").lower()
    for known in allowed:
        if word.startswith(known) and not word[len(known) : len(known) + 1].isalnum():
            return known
    return None


_WORD: Final = Wish(most_tokens=8, of_use=lambda text: first_word(text, _YES_NO) is not None)
