"""A cheap stand-in for a dear oracle, learnt inside a query from what that has said so far."""

from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Flags = NDArray[np.bool_]
Vectors = NDArray[np.float32]

_LEAST: Final = 8  # answers of each kind, or nothing is learnt
_NEAR: Final = (0.0, 3.0, 10.0, 30.0)  # how fast likeness fades with 1 - cosine; 0: not at all
_STRENGTHS: Final = (0.01, 0.05, 0.3, 2.0, 12.0)  # of the ridge
_TRIED: Final = 250  # answers by which both are chosen
_OF_SCORE: Final = 0.1  # weight of the score beside the vectors
_APART: Final = 0.03  # 1 - cosine of two frames of one scene, about
_AT_ONCE: Final = 4096  # rows
_TURNS: Final = 30  # of Newton's method
_HELD: Final = 0.02  # how much the curve is held back
_CLEARLY: Final = 0.97  # of the score's own loss: what is hardly better is not taken


@dataclass(frozen=True, slots=True)
class RankedRows:
    """What rows are ranked by, and the chance of a yes that each is taken to have."""

    values: Scores
    chances: Scores
    learnt: bool = False  # from vectors


@dataclass(frozen=True, slots=True)
class _Learnt:
    """What a kernel regression says of rows, and the cosine of each to the nearest row known."""

    values: Scores
    nearest: Scores

    def features(self) -> NDArray[np.float64]:
        """What a value is worth depends on how near an answer is known: `[n, 4]`."""
        far = np.log(np.maximum(1 - self.nearest, 1e-3) / _APART) / 2
        return np.column_stack([np.ones(len(far)), self.values, far, self.values * far])


def rank(scores: Scores, vectors: Vectors | None, known: Flags, true: Flags) -> RankedRows:
    """Rank rows by a score, or by what is learnt from vectors where that tells clearly more.

    Only what is planned rests on the chances, and so what it costs; nothing that is promised does.
    A kernel ridge regression of the answers on vectors and score, for which rows that look alike
    answer alike, is compared with the score by how well each foretells an answer that it has not
    seen.
    """
    answers = true[known]
    own = _standard(scores)
    plain = np.column_stack([np.ones(len(own)), own])
    curve = _curve(plain[known], answers)
    curve[1] = max(curve[1], 0.0)
    by_score = RankedRows(scores, _logistic(plain @ curve))
    if vectors is None or min(answers.sum(), (~answers).sum()) < _LEAST:
        return by_score
    told, unseen = _kernel(_unit(vectors), own, known, answers)
    curve = _curve(unseen.features(), answers)
    loss = _loss(_logistic(unseen.features() @ curve), answers)
    if loss > _CLEARLY * _loss(by_score.chances[known], answers):
        return by_score
    chances = _logistic(told.features() @ curve)
    return RankedRows(chances, chances, learnt=True)


def spread(pool: NDArray[np.int64], vectors: Vectors, known: Flags, count: int) -> list[int]:
    """Return so many rows of a pool, each as unlike as can be to those known and picked before."""
    seen, mine = _unit(vectors[known]), _unit(vectors[pool])
    nearest = np.concatenate(
        [(mine[at : at + _AT_ONCE] @ seen.T).max(1) for at in range(0, len(mine), _AT_ONCE)]
    )
    picked: list[int] = []
    for _ in range(min(count, len(pool))):
        at = int(nearest.argmin())
        picked.append(int(pool[at]))
        nearest = np.maximum(nearest, mine @ mine[at])
        nearest[at] = np.inf
    return picked


def _kernel(vectors: Vectors, own: Scores, known: Flags, answers: Flags) -> tuple[_Learnt, _Learnt]:
    """Regress answers; return what that says of all rows, and of each known one without itself.

    The ridge and how far likeness reaches are those that err least on answers left out, each by
    itself; these follow from one inverse, without another fit.
    """
    seen, told = vectors[known], own[known].astype(np.float32)
    target = np.where(answers, 1.0, -1.0).astype(np.float32)
    level, cosines = target.mean(), seen @ seen.T
    middle = cosines.mean(0)
    plain = cosines - middle - middle[:, None] + middle.mean() + _OF_SCORE * np.outer(told, told)
    some = np.random.default_rng(0).permutation(len(target))[:_TRIED]
    part = np.ix_(some, some)
    tried = [
        (_errors(_inverse(cosines[part], plain[part], *each), target[some] - level), each)
        for each in product(_NEAR, _STRENGTHS)
    ]
    near, strength = min((float((error**2).mean()), each) for error, each in tried)[1]
    inverse = _inverse(cosines, plain, near, strength)
    unseen = target - _errors(inverse, target - level)
    weights = inverse @ (target - level)
    values, nearest = np.empty(len(vectors)), np.empty(len(vectors))
    for at in range(0, len(vectors), _AT_ONCE):
        rows = slice(at, at + _AT_ONCE)
        found = vectors[rows] @ seen.T
        nearest[rows] = found.max(1)
        flat = found - found.mean(1)[:, None] - middle + middle.mean()
        flat += _OF_SCORE * np.outer(own[rows].astype(np.float32), told)
        values[rows] = (np.exp(near * (found - 1)) + flat) @ weights + level
    np.fill_diagonal(cosines, -1)
    return _Learnt(values, nearest), _Learnt(unseen.astype(float), cosines.max(1).astype(float))


def _inverse(cosines: Vectors, plain: Vectors, near: float, strength: float) -> Vectors:
    ridge = np.float32(strength) * np.eye(len(plain), dtype=np.float32)
    kernel = (np.exp(np.float32(near) * (cosines - 1)) + plain + ridge).astype(np.float32)
    return np.linalg.inv(kernel).astype(np.float32)


def _errors(inverse: Vectors, target: Vectors) -> Vectors:
    """By how much each answer is missed by the regression on all others."""
    return ((inverse @ target) / np.diag(inverse)).astype(np.float32)


def _unit(vectors: Vectors) -> Vectors:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
    return unit


def _curve(inputs: NDArray[np.float64], answers: Flags) -> Scores:
    """Fit a logistic curve; what was asked was chosen by it, which does no harm."""
    told, curve = answers.astype(float), np.zeros(inputs.shape[1])
    for _ in range(_TURNS):
        chance = _logistic(inputs @ curve)
        slope = inputs.T @ (told - chance) - _HELD * curve
        bend = (inputs * (chance * (1 - chance))[:, None]).T @ inputs
        curve = curve + np.linalg.solve(bend + _HELD * np.eye(len(curve)), slope)
    return curve


def _loss(chances: Scores, answers: Flags) -> float:
    right = np.clip(np.where(answers, chances, 1 - chances), 1e-6, 1)
    return float(-np.log(right).mean())


def _standard(values: Scores) -> Scores:
    standard: Scores = (values - values.mean()) / (float(values.std()) or 1.0)
    return standard


def _logistic(values: Scores) -> Scores:
    return 1 / (1 + np.exp(-np.clip(values, -30, 30)))
