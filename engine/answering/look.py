"""What single pictures, or those of a moment, show: by the built-in reader, or by a model."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from threading import Event
from typing import Any, Final, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from engine.answering.chat import ChatTurn, SeeingModel, TurnPart, Wish, as_jpeg
from engine.answering.choose import statements
from engine.answering.draft import chosen, json_of
from engine.answering.patch_reader import PatchReader
from engine.errors import LookerError, UsageError
from engine.search.inquiry import Filled, Inquiry, OneOf, YesNo
from engine.search.schema import misfit
from engine.vision.backbone.preprocess import prepare

Word = Literal["yes", "no", "unclear"]
Pictures = Sequence[NDArray[np.uint8]]
_YES_NO: Final[tuple[Word, ...]] = ("yes", "no")
_FPS: Final = 2.0  # by which the built-in reader takes the pictures of a moment to be apart
_ASKED: Final = "Answer with one word, yes or no: {}"
_LABELS: Final = "{question}\nAnswer with exactly one of these and nothing else:\n{labels}"
_FORM: Final = (
    "Look and fill in one JSON object and nothing else, by this JSON schema: {schema}. What cannot"
    " be seen is null where the schema allows it."
)
_OF_A_MOMENT: Final = "These pictures are frames of one moment of a video, in order.\n"
_TOKENS: Final = 512  # of a form at most


class Looker(Protocol):
    """Answers what is asked of pictures."""

    def answers(self, asked: Sequence[tuple[Pictures, Inquiry]]) -> list[Any]:
        """Return what each asks of its pictures, as its inquiry says."""


@dataclass(frozen=True, slots=True)
class BuiltinLooker:
    """The patch reader of a model, which weighs words against one another."""

    reader: PatchReader

    def answers(self, asked: Sequence[tuple[Pictures, Inquiry]]) -> list[Any]:
        """Look at each by itself."""
        return [self._answer(images, inquiry) for images, inquiry in asked]

    def _answer(self, images: Pictures, inquiry: Inquiry) -> Any:
        if isinstance(inquiry, Filled):
            raise UsageError(
                "AI_EXTRACT needs a model that answers in words: set DEJAVU_LOOKER_URL or"
                " DEJAVU_LOOKER_LOCAL"
            )
        words = _YES_NO if isinstance(inquiry, YesNo) else inquiry.labels
        form = self.reader.model.preprocessing
        tokens = self.reader.see(torch.stack([prepare(image, form) for image in images]))
        texts = statements(inquiry.question, words)
        choice = self.reader.judge(tokens, np.arange(len(images)) / _FPS, texts).choice
        return choice == 0 if isinstance(inquiry, YesNo) else words[choice]


@dataclass(frozen=True, slots=True)
class ModelLooker:
    """A model that sees, asked in words; some questions at a time."""

    model: SeeingModel
    at_once: int = 1

    def answers(self, asked: Sequence[tuple[Pictures, Inquiry]]) -> list[Any]:
        """Ask of each by itself, of what is the same once; the first failure ends it."""
        packed = [(tuple(as_jpeg(image) for image in images), inquiry) for images, inquiry in asked]
        each = list(dict.fromkeys(packed))
        failed = Event()

        def answer(one: tuple[Sequence[bytes], Inquiry]) -> Any:
            if failed.is_set():
                return None
            try:
                return self._answer(*one)
            except BaseException:
                failed.set()
                raise

        with ThreadPoolExecutor(self.at_once) as pool:
            waiting = [pool.submit(copy_context().run, answer, one) for one in each]
            found = dict(zip(each, (one.result() for one in waiting), strict=True))
        return [found[one] for one in packed]

    def _answer(self, pictures: Sequence[bytes], inquiry: Inquiry) -> Any:
        """Ask, and once more where the reply is of no use, but for one that is yes or no."""
        words, wish, read = _in_words(inquiry)
        words = words if len(pictures) == 1 else _OF_A_MOMENT + words
        turns = [
            ChatTurn("user", (TurnPart(words), *(TurnPart(picture=each) for each in pictures)))
        ]
        text = self.model.reply(turns, wish)
        try:
            return read(text)
        except ValueError as error:
            if isinstance(inquiry, YesNo):
                raise LookerError(f"{self.model.name} {error}", operator="Look") from error
            turns += [ChatTurn.of(text, "assistant"), ChatTurn.of(f"That is not it: {error}.")]
        text = self.model.reply(turns, wish)
        try:
            return read(text)
        except ValueError as error:
            raise LookerError(
                f"{self.model.name} gave no answer: {error}", operator="Look"
            ) from error


def _in_words(inquiry: Inquiry) -> tuple[str, Wish, Callable[[str], Any]]:
    """Put an inquiry into words; return how the reply is to be and how it is read."""
    read: Callable[[str], Any]
    match inquiry:
        case YesNo(question):
            return _ASKED.format(question), _WORD, _read_word
        case OneOf(labels, question):
            listed = "\n".join(labels)

            def read(text: str) -> str:
                return labels[chosen(text, labels)]

            wish = Wish(32 + max(map(len, labels)), None, _reads(read))
            return _LABELS.format(question=question, labels=listed), wish, read
        case Filled():
            schema = inquiry.schema

            def read(text: str) -> Any:
                found = json_of(text)
                if wrong := misfit(found, schema):
                    raise ValueError(f"it does not fit the schema: {wrong}")
                return found

            wish = Wish(_TOKENS, schema, _reads(read))
            return _FORM.format(schema=json.dumps(schema)), wish, read


def _reads(read: Callable[[str], Any]) -> Callable[[str], bool]:
    """Return a test of whether a reply can be read."""

    def of_use(text: str) -> bool:
        try:
            read(text)
        except ValueError:
            return False
        return True

    return of_use


def _read_word(text: str) -> bool:
    word = first_word(text, _YES_NO)
    if word is None:
        raise ValueError(f"answered {text[:80]!r}; expected yes or no")
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


_WORD: Final = Wish(most_tokens=8, of_use=_reads(_read_word))
