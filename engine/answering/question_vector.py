"""Rank videos by a vector of the question: which of several it is about."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.answering.choose import statements
from engine.answering.declare import declare

Vectors = NDArray[np.float32]
_BEST = 4  # frames of a video that speak for it


def question_vector(
    question: str, choices: Sequence[str], embed_texts: Callable[[Sequence[str]], Vectors]
) -> Vectors:
    """Return what to look for as one unit vector `[E]`: all ways to say it, in equal parts.

    They are the question, the question with each choice, and what each choice states. A text tower
    was trained on captions; a question alone is none, a statement alone may be the wrong one.
    """
    said = [
        [question],
        statements(question, choices),
        [declare(question, choice) for choice in choices],
    ]
    vectors = embed_texts([text for texts in said for text in texts])
    parts = np.split(vectors, np.cumsum([len(texts) for texts in said])[:-1])
    middles = [part.mean(0) / np.linalg.norm(part.mean(0)) for part in parts]
    total: Vectors = np.sum(middles, axis=0)
    return total / np.linalg.norm(total)


def support(frames: Vectors, sought: Vectors) -> float:
    """How much a video `[F, E]` speaks for being the one that is meant: by its best frames."""
    return float(np.sort(frames @ sought)[-_BEST:].mean())
