"""What is said to a model that sees, and which models there are: each turns turns into words."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.caller import pay_for_call

Tell = Callable[[str], None]  # called with each further piece of a reply
_LONGEST_EDGE: Final = 768  # pixels; models see no more, and servers refuse large pictures
_QUALITY: Final = 90


def silent(text: str) -> None:
    """Tell nobody."""


def has_words(text: str) -> bool:
    """Whether a reply says anything."""
    return bool(text.strip())


@dataclass(frozen=True, slots=True)
class TurnPart:
    """A piece of a turn: words, or a picture as JPEG."""

    text: str = ""
    picture: bytes | None = None


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """What one side says at a time."""

    role: Literal["user", "assistant"]
    parts: tuple[TurnPart, ...]

    @classmethod
    def of(cls, text: str, role: Literal["user", "assistant"] = "user") -> "ChatTurn":
        """Return a turn of words alone."""
        return cls(role, (TurnPart(text),))


@dataclass(frozen=True, slots=True)
class Wish:
    """How a reply is to be: at most so many tokens, JSON of a schema where one is given.

    One that is not of use is not kept.
    """

    most_tokens: int = 512
    schema: Mapping[str, Any] | None = field(default=None, hash=False)
    of_use: Callable[[str], bool] = has_words


class SeeingModel(Protocol):
    """Reads pictures and words and replies in words."""

    @property
    def name(self) -> str:
        """Which model it is: what is kept of it is kept under this."""

    def reply(self, turns: Sequence[ChatTurn], wish: Wish, tell: Tell = silent) -> str:
        """Reply to the last turn; where somebody listens, piece by piece."""


@dataclass(frozen=True, slots=True)
class PaidModel:
    """A model each call of which is counted for who asks."""

    model: SeeingModel

    @property
    def name(self) -> str:
        """The model's."""
        return self.model.name

    def reply(self, turns: Sequence[ChatTurn], wish: Wish, tell: Tell = silent) -> str:
        """Reply, unless who asks has no call left."""
        pay_for_call()
        return self.model.reply(turns, wish, tell)


def as_jpeg(image: NDArray[np.uint8]) -> bytes:
    """Pack a picture `[H, W, 3]`, made smaller where it is larger than models see.

    The same picture gives the same bytes.
    """
    picture = Image.fromarray(image)
    picture.thumbnail((_LONGEST_EDGE, _LONGEST_EDGE))
    packed = io.BytesIO()
    picture.save(packed, "JPEG", quality=_QUALITY)
    return packed.getvalue()
