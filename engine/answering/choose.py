"""Score the choices of a question against the frames of a video."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The winning choice, its probability, and each choice's relevance over time `[C, F]`.

    `strength` compares answers from different frames, where what chose them can tell.
    """

    choice: int
    probabilities: tuple[float, ...]
    relevance: NDArray[np.float64]
    strength: float = 0.0


def statements(question: str, choices: Sequence[str]) -> list[str]:
    """Put the question and each choice into one text."""
    return [f"{question} {choice}" for choice in choices]


def choose(
    frames: Vectors, statement_vectors: Vectors, *, sharpness: float = 30.0, scale: float = 100.0
) -> Chosen:
    """Score choices by the frames that speak for them.

    Args:
        frames: unit vectors `[F, E]` in time order.
        statement_vectors: unit vectors `[C, E]` of question and choice.
        sharpness: how far the best frames outweigh the rest; 0 is the plain mean.
        scale: turns differences of similarity into probabilities, as the model was trained to.
    """
    if not len(frames):
        raise UsageError("no frames to answer from; ingest the video first")
    if len(statement_vectors) < 2:
        raise UsageError(f"{len(statement_vectors)} choice; allowed: two or more")
    relevance = statement_vectors.astype(np.float64) @ frames.T.astype(np.float64)  # [C, F]
    # what all choices share says nothing about which one is right, but says which frames matter
    matter = sharpness * (relevance.mean(0) + relevance.max(0)) / 2
    weights = np.exp(matter - matter.max())
    scores = relevance @ (weights / weights.sum())
    exact = np.exp(scale * (scores - scores.max()))
    probabilities = exact / exact.sum()
    return Chosen(int(scores.argmax()), tuple(map(float, probabilities)), relevance)
