"""From a question and a video's vectors to an answer with its evidence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.answering import head
from engine.answering.candidates import candidates
from engine.answering.choose import Chosen, choose, statements
from engine.answering.ground import Grounded, ground, hold
from engine.answering.head import VectorReader

Embed = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer on one video; `how` says what chose it."""

    text: str
    choice: int
    confidence: float
    probabilities: tuple[float, ...]
    choices: tuple[str, ...]
    evidence: Grounded
    relevance: NDArray[np.float64]  # of each frame for the answer, [F]
    how: str  # `trained head`, `similarity`, or what was looked at
    strength: float = 0.0  # the highest of several videos' answers is the likeliest one
    looked: int = 0  # frames


@dataclass(frozen=True, slots=True)
class Asked:
    """A question on one video; without choices, common answers to that kind of question."""

    question: str
    choices: Sequence[str] | None
    seconds: NDArray[np.float64]  # times of the frames, rising, [F]
    frames: NDArray[np.float32]  # unit vectors [F, E]
    duration_seconds: float | None = None  # end of the last frame, where known


def answer_all(
    asked: Sequence[Asked], embed_texts: Embed, *, reader: VectorReader | None = None
) -> list[Answered]:
    """Answer questions on videos, read together.

    A trained head says of each frame how likely it shows the answer, so its evidence is where that
    is likelier than not; similarities have no such scale, and are cut at a share of their peak.

    Args:
        asked: the questions with their videos.
        embed_texts: the model's text tower.
        reader: a trained head for the model, where there is one.
    """
    listed = [tuple(each.choices) if each.choices else candidates(each.question) for each in asked]
    vectors = [
        embed_texts(statements(each.question, choices))
        for each, choices in zip(asked, listed, strict=True)
    ]
    pairs = list(zip(asked, vectors, strict=True))
    if reader is not None and all(len(each.frames) for each in asked):
        read = [head.ReaderInput(each.seconds, each.frames, texts) for each, texts in pairs]
        chosen = reader.read_all(read)
        span: Callable[..., Grounded] = hold
    else:
        chosen = [choose(each.frames, texts) for each, texts in pairs]
        span = ground
    how = "similarity" if reader is None else "trained head"
    return [tell(*each, how, span) for each in zip(asked, listed, chosen, strict=True)]


def tell(
    asked: Asked,
    choices: tuple[str, ...],
    chosen: Chosen,
    how: str,
    span: Callable[..., Grounded] = ground,
) -> Answered:
    """Put a choice into words and seconds."""
    relevance = chosen.relevance[chosen.choice]
    return Answered(
        text=choices[chosen.choice],
        choice=chosen.choice,
        confidence=chosen.probabilities[chosen.choice],
        probabilities=chosen.probabilities,
        choices=choices,
        evidence=span(asked.seconds, relevance, duration_seconds=asked.duration_seconds),
        relevance=relevance,
        how=how,
        strength=chosen.strength,
    )
