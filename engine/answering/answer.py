"""From a question and a video's vectors to an answer with its evidence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.answering.candidates import candidates
from engine.answering.choose import choose, statements
from engine.answering.ground import Grounded, ground
from engine.answering.head import Reader

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
    how: str  # `trained head` or `similarity`


def answer(
    question: str,
    choices: Sequence[str] | None,
    seconds: NDArray[np.float64],
    frames: NDArray[np.float32],
    embed_texts: Embed,
    *,
    reader: Reader | None = None,
    duration_seconds: float | None = None,
) -> Answered:
    """Answer a question on one video.

    Args:
        question: any text.
        choices: possible answers; without any, common answers to that kind of question.
        seconds: times of the frames, rising, `[F]`.
        frames: unit vectors of the frames, `[F, E]`.
        embed_texts: the model's text tower.
        reader: a trained head for the model, where there is one.
        duration_seconds: end of the last frame, where known.
    """
    listed = tuple(choices) if choices else candidates(question)
    vectors = embed_texts(statements(question, listed))
    if reader is not None and len(frames):
        chosen = reader.read(seconds, frames, vectors)
    else:
        chosen = choose(frames, vectors)
    relevance = chosen.relevance[chosen.choice]
    return Answered(
        text=listed[chosen.choice],
        choice=chosen.choice,
        confidence=chosen.probabilities[chosen.choice],
        probabilities=chosen.probabilities,
        choices=listed,
        evidence=ground(seconds, relevance, duration_seconds=duration_seconds),
        relevance=relevance,
        how="similarity" if reader is None else "trained head",
    )
