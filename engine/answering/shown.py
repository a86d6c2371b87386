"""How likely it is that what is asked for is shown at all, and how sure an answer may be."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.answering.answer import Answered
from engine.errors import ModelError
from engine.results import NOT_SHOWN
from engine.vision.backbone.locate import BUILTIN
from engine.vision.backbone.space import Space

SHIPPED: Final = BUILTIN / "shown.json"
_SUREST: Final = 30.0  # a logit; what is said to be surer is as sure


@dataclass(frozen=True, slots=True)
class ShownReading:
    """What an answer by looking says of itself, and how well the question fits the video."""

    relevance: float  # logit of the frame that shows the answer best
    strength: float
    margin: float  # of the answer over the next one, in logits
    support: float  # cosine of the best frames with the question

    @classmethod
    def of(cls, answered: Answered, support: float) -> "ShownReading":
        """Read an answer."""
        best = float(answered.relevance.max())
        first, second = sorted(answered.probabilities, reverse=True)[:2]
        return cls(_logit(best), answered.strength, _log(first) - _log(second), support)

    @property
    def values(self) -> tuple[float, ...]:
        """Inputs of the curves."""
        return self.relevance, self.strength, self.margin, self.support


@dataclass(frozen=True, slots=True)
class ShownCurve:
    """Two logistic curves and a temperature, fitted for one patch reader.

    The first says of a video whether it shows what is asked for; the second, of the best of several
    and of how many were looked through, whether any does.
    """

    weight_hash: str  # of the model
    video: tuple[float, ...]  # weights of a reading's values, and a constant
    any: tuple[float, float, float]  # of the best video's logit, of log(videos), and a constant
    temperature: float  # that the choices' logits are divided by
    threshold: float  # below it the answer is that nothing like this is here

    def fit(self, reading: ShownReading) -> float:
        """Return the logit of one video showing what is asked for."""
        *weights, constant = self.video
        return float(np.dot(weights, reading.values)) + constant

    def shown(self, best: float, videos: int) -> float:
        """Return the probability that any of the videos shows it, by the best one's logit."""
        of_best, of_count, constant = self.any
        return sigmoid(of_best * best + of_count * math.log(videos) + constant)

    def weigh(
        self, probabilities: Sequence[float], best: float, videos: int
    ) -> tuple[tuple[float, ...], float]:
        """Return the probability of each choice, and of nothing like it being there, one in all.

        What may be shown by another video than the one that was read may be any choice.
        """
        shown = self.shown(best, videos)
        here = min(self.shown(best, 1), shown)
        other = (shown - here) / len(probabilities)
        return tuple(here * each + other for each in self.soften(probabilities)), 1 - shown

    def soften(self, probabilities: Sequence[float]) -> tuple[float, ...]:
        """Return the choices' probabilities as they come true."""
        logits = np.array([_log(each) for each in probabilities]) / self.temperature
        exact = np.exp(logits - logits.max())
        return tuple((exact / exact.sum()).tolist())


def likeliness(curve: ShownCurve | None, answered: Answered, support: float) -> float:
    """Return what answers on several videos are compared by: a logit where there is one."""
    if curve is None or not answered.looked:
        return answered.strength
    return curve.fit(ShownReading.of(answered, support))


def settle(curve: ShownCurve, answered: Answered, best: float, videos: int) -> Answered:
    """Give the answer on the likeliest of some videos its probabilities.

    Nothing like it being there is one choice more, the answer where it is likely enough.
    """
    weighed, nothing = curve.weigh(answered.probabilities, best, videos)
    said = replace(
        answered,
        probabilities=(*weighed, nothing),
        choices=(*answered.choices, NOT_SHOWN),
        confidence=weighed[answered.choice],
    )
    if 1 - nothing >= curve.threshold:
        return said
    return replace(said, text=NOT_SHOWN, choice=len(answered.choices), confidence=nothing)


def sigmoid(logit: float) -> float:
    """Return the probability of a logit."""
    return 1 / (1 + math.exp(-max(-_SUREST, min(_SUREST, logit))))


def load_curve(path: Path, weight_hash: str) -> ShownCurve:
    """Read a curve with its card; one of another model is an error."""
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["curve"]
        curve = ShownCurve(**{**told, "video": tuple(told["video"]), "any": tuple(told["any"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is no curve of what is shown: {error}") from error
    if curve.weight_hash != weight_hash:
        raise ModelError(
            f"{path.name} is of model {curve.weight_hash[:12]}, not of {weight_hash[:12]};"
            " fit one with `dejavu-engine bench shown --fit FILE`"
        )
    return curve


@cache
def shipped_curve(space: Space) -> ShownCurve | None:
    """Return the curve that ships for a model, if one does."""
    if space.model != "builtin" or not SHIPPED.exists():
        return None
    return load_curve(SHIPPED, space.weight_hash)


def _logit(probability: float) -> float:
    return _log(probability) - _log(1 - probability)


def _log(probability: float) -> float:
    return max(-_SUREST, math.log(probability)) if probability > 0 else -_SUREST
