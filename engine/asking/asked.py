"""A question with all that decides its answer, and what looks for one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.answering.kept import AnswerFile, Exchange
from engine.errors import UsageError, check_text
from engine.operators.base import Context
from engine.results import NOT_SHOWN, Answer, Claim, Follow, Outlook
from engine.search.schema import check_schema

_REMEMBERED: Final = 6  # questions of a session


@dataclass(frozen=True, slots=True)
class AskLimits:
    """What an answer may cost: calls of a model in all, and pictures that it is shown at first."""

    calls: int = 8
    frames: int = 24

    @classmethod
    def of(cls, calls: int | None, frames: int | None) -> "AskLimits":
        """Return what is given, the defaults for what is not."""
        given = {"calls": calls, "frames": frames}
        return cls(**{name: most for name, most in given.items() if most is not None})

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise UsageError(f"max_{name} is {getattr(self, name)}; allowed: 1 or more")


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """What is asked, of which videos, and what was asked before."""

    text: str
    choices: tuple[str, ...] | None = None
    videos: Sequence[int | str] | None = None
    schema: Mapping[str, Any] | None = None
    limits: AskLimits = field(default_factory=AskLimits)
    before: tuple[Exchange, ...] = ()
    session: str | None = None  # that it is asked in

    @classmethod
    def of(
        cls,
        text: str,
        choices: Sequence[str] | None = None,
        videos: Sequence[int | str] | NDArray[np.int64] | None = None,
        most: tuple[int | None, int | None] = (None, None),
        schema: Mapping[str, Any] | None = None,
    ) -> "AskedQuestion":
        """Check and return a question as it was given; `most` are calls and frames."""
        if isinstance(choices, str):
            raise UsageError(f"choices are a list of texts, got one: {choices!r}")
        if schema is not None:
            check_schema(schema)
        listed = None if choices is None else tuple(choices)
        chosen = videos.tolist() if isinstance(videos, np.ndarray) else videos
        return cls(text, listed, chosen, schema, AskLimits.of(*most))

    def within(self, session: str | None, kept: AnswerFile) -> "AskedQuestion":
        """Return it as asked after others: without videos of its own, of those cited last."""
        if session is None:
            return self
        before = tuple(kept.session(session))[-_REMEMBERED:]
        videos = self.videos
        if videos is None and before[-1].videos:
            videos = before[-1].videos
        return replace(self, before=before, session=session, videos=videos)

    def __post_init__(self) -> None:
        check_text(self.text, "the question")
        if self.choices is None:
            return
        if len(self.choices) < 2:
            raise UsageError(f"{len(self.choices)} choice; allowed: none, or two and more")
        for choice in self.choices:
            check_text(choice, "a choice")
        if NOT_SHOWN in self.choices:
            raise UsageError(f"the choice {NOT_SHOWN!r} needs not be given: it is always weighed")
        if len(set(self.choices)) < len(self.choices):
            twice = next(choice for choice in self.choices if self.choices.count(choice) > 1)
            raise UsageError(f"the choice {twice!r} is given twice")


class Steps(Protocol):
    """The steps of one answer, in their order; each rests on the one before."""

    def find(self, context: Context) -> Outlook:
        """Say where to look, and what that costs at most; nothing is asked or decoded yet."""

    def look(self, context: Context, follow: Follow) -> Answer:
        """Answer from what was found, with claims that nothing has checked."""

    def check(self, context: Context, claim: Claim) -> Claim:
        """Hold a claim against the frames of its moments."""

    def conclude(self, answer: Answer) -> Answer:
        """Say what the checks and what was spent make of an answer."""
