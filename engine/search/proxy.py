"""A cheap stand-in for a dear oracle, learnt inside a query from what that has said so far."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Flags = NDArray[np.bool_]
Vectors = NDArray[np.float32]

_LEAST: Final = 8  # answers of each kind, or nothing is learnt
_STRENGTHS: Final = np.geomspace(1e-3, 1e2, 11)  # of the ridge, by the largest singular value
_TURNS: Final = 30  # of Newton's method
_HELD: Final = 0.02  # how much the curve is held back
_CLEARLY: Final = 0.97  # of the score's own loss: what is hardly better is not taken


@dataclass(frozen=True, slots=True)
class RankedRows:
    """What rows are ranked by, and the chance of a yes that each is taken to have."""

    values: Scores
    chances: Scores
    learnt: bool = False  # from vectors


def rank(scores: Scores, vectors: Vectors | None, known: Flags, true: Flags) -> RankedRows:
    """Rank rows by a score, or by what is learnt from vectors where that tells clearly more.

    Only what is planned rests on the chances, and so what it costs; nothing that is promised does.
    A ridge regression of the answers on vectors and score is compared with the score by how well
    each foretells an answer that it has not seen.
    """
    answers = true[known]
    own = _standard(scores)
    curve = _curve(own[known], answers)
    by_score = RankedRows(scores, _logistic(curve[0] + max(curve[1], 0.0) * own))
    if vectors is None or min(answers.sum(), (~answers).sum()) < _LEAST:
        return by_score
    values, unseen = _ridge(np.column_stack([vectors, own]), known, answers)
    fitted = _curve(unseen, answers)
    told = _logistic(fitted[0] + max(fitted[1], 0.0) * unseen)
    if _loss(told, answers) > _CLEARLY * _loss(by_score.chances[known], answers):
        return by_score
    return RankedRows(values, _logistic(fitted[0] + max(fitted[1], 0.0) * values), learnt=True)


def _ridge(inputs: NDArray[np.float64], known: Flags, answers: Flags) -> tuple[Scores, Scores]:
    """Regress answers on inputs; return all rows' values, and each known one's without itself.

    The strength is the one that errs least on answers left out, each by itself; these follow from
    one decomposition, without another fit.
    """
    seen = inputs[known]
    middle, target = seen.mean(0), np.where(answers, 1.0, -1.0)
    level = target.mean()
    left, sizes, right = np.linalg.svd(seen - middle, full_matrices=False)
    turned = left.T @ (target - level)
    best, least = (np.empty(0), np.empty(0)), np.inf
    for strength in _STRENGTHS * max(float(sizes[0]), 1e-9) ** 2 / len(seen):
        shrunk = sizes**2 / (sizes**2 + strength)
        fit, own = left @ (shrunk * turned) + level, (left**2) @ shrunk + 1 / len(seen)
        unseen = (fit - own * target) / np.maximum(1 - own, 1e-6)
        error = float(((unseen - target) ** 2).mean())
        if error < least:
            best, least = (sizes / (sizes**2 + strength) * turned, unseen), error
    return (inputs - middle) @ (right.T @ best[0]) + level, best[1]


def _curve(values: Scores, answers: Flags) -> Scores:
    """Fit a logistic curve of one value; what was asked was chosen by it, which does no harm."""
    inputs = np.stack([np.ones(len(values)), values], 1)
    told, curve = answers.astype(float), np.zeros(2)
    for _ in range(_TURNS):
        chance = _logistic(inputs @ curve)
        slope = inputs.T @ (told - chance) - _HELD * curve
        bend = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + _HELD * np.eye(2)
        curve = curve + np.linalg.solve(bend, slope)
    return curve


def _loss(chances: Scores, answers: Flags) -> float:
    right = np.clip(np.where(answers, chances, 1 - chances), 1e-6, 1)
    return float(-np.log(right).mean())


def _standard(values: Scores) -> Scores:
    standard: Scores = (values - values.mean()) / (float(values.std()) or 1.0)
    return standard


def _logistic(values: Scores) -> Scores:
    return 1 / (1 + np.exp(-np.clip(values, -30, 30)))
