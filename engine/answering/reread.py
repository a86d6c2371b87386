"""From a question to an answer by looking at the frames where vectors say it may be shown."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.answering.answer import Answered, Asked, Embed, tell
from engine.answering.candidates import candidates
from engine.answering.choose import statements
from engine.answering.ground import hold
from engine.answering.patch_reader import PatchReader
from engine.answering.question_vector import question_vector, support

Places = NDArray[np.intp]
See = Callable[[Places], Tensor]  # frames by their places to their tokens
FRAMES = 32  # of a stretch at most
STRETCHES = 3  # of a video at most
_FPS = 2.0  # what is looked at lies no closer, as the patch reader was trained


def answer_from_frames(
    asked: Asked, see: See, patch_reader: PatchReader, embed: Embed, most: int = STRETCHES
) -> Answered:
    """Answer a question on one video from at most so many of its stretches.

    Args:
        asked: the question, with the stored vectors that tell where to look.
        see: shows frames to the patch reader; called for the stretches that are looked at alone.
        patch_reader: of the model whose vectors they are.
        embed: the model's text tower.
        most: stretches that are looked at, the likeliest by their vectors.
    """
    choices = tuple(asked.choices) if asked.choices else candidates(asked.question)
    texts = statements(asked.question, choices)
    stretches = cut(asked.seconds)
    found = {
        number: patch_reader.judge(see(stretches[number]), asked.seconds[stretches[number]], texts)
        for number in likeliest(asked, stretches, embed, most)
    }
    best = max(found, key=lambda number: found[number].strength)
    beside = _beside(best, set(found))
    places = np.concatenate([stretches[number] for number in beside])
    relevance = np.concatenate([found[number].relevance for number in beside], axis=1)
    chosen = replace(found[best], relevance=relevance)
    before = sum(len(stretches[number]) for number in beside if number < best)
    peak = before + int(found[best].relevance[chosen.choice].argmax())
    part = Asked(
        asked.question, choices, asked.seconds[places], asked.frames[places], _end(asked, places)
    )
    seen = sum(len(stretches[number]) for number in found)
    told = tell(part, choices, chosen, f"looked at {seen} frames", partial(hold, peak=peak))
    return replace(told, looked=seen)


def likeliest(asked: Asked, stretches: Sequence[Places], embed: Embed, most: int) -> list[int]:
    """Return the numbers of the stretches to look at, the likeliest by their vectors first."""
    numbers = list(range(len(stretches)))
    if len(stretches) > most:
        choices = tuple(asked.choices) if asked.choices else candidates(asked.question)
        sought = question_vector(asked.question, choices, embed)
        numbers.sort(key=lambda number: -support(asked.frames[stretches[number]], sought))
    return numbers[:most]


def _beside(best: int, looked: set[int]) -> range:
    """Stretches that were looked at without a gap around one: what is shown may go on there."""
    first = last = best
    while first - 1 in looked:
        first -= 1
    while last + 1 in looked:
        last += 1
    return range(first, last + 1)


def cut(seconds: NDArray[np.float64]) -> list[Places]:
    """Cut a video's frames into stretches of like length, thinned to two a second."""
    slots = np.floor((seconds - seconds[0]) * _FPS + 1e-6)
    kept = np.flatnonzero(np.diff(slots, prepend=-1))
    return np.array_split(kept, -(-len(kept) // FRAMES))


def _end(asked: Asked, places: Places) -> float | None:
    """When the last frame of a stretch goes; None where that is not known."""
    after = np.searchsorted(asked.seconds, asked.seconds[places[-1]] + 1 / _FPS - 1e-6)
    return float(asked.seconds[after]) if after < len(asked.seconds) else asked.duration_seconds
