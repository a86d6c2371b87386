"""Choices scored against frames."""

import numpy as np
import pytest

from engine.answering.choose import choose, statements
from engine.errors import UsageError

AXES = np.eye(6, dtype=np.float32)


def unit(*parts: np.ndarray) -> np.ndarray:
    """Sum and normalise."""
    total = np.sum(parts, axis=0)
    return (total / np.linalg.norm(total)).astype(np.float32)


def test_the_choice_that_the_frames_show_wins() -> None:
    frames = np.stack([unit(AXES[0], AXES[2])] * 10)
    found = choose(frames, np.stack([unit(AXES[0], AXES[k]) for k in (1, 2, 3)]))
    assert found.choice == 1
    assert found.relevance.shape == (3, 10)
    assert sum(found.probabilities) == pytest.approx(1)
    assert found.probabilities[1] == max(found.probabilities)


def test_a_brief_event_outweighs_a_long_background() -> None:
    asked, right, wrong = AXES[0], AXES[1], AXES[2]
    background = unit(AXES[3], 0.2 * wrong)
    frames = np.stack([background] * 38 + [unit(asked, right)] * 2)
    vectors = np.stack([unit(asked, wrong), unit(asked, right)])
    assert choose(frames, vectors).choice == 1


def test_statements_hold_question_and_choice() -> None:
    assert statements("what colour?", ["red", "blue"]) == ["what colour? red", "what colour? blue"]


def test_nothing_to_choose_from_is_said() -> None:
    with pytest.raises(UsageError, match="no frames to answer from"):
        choose(AXES[:0], AXES)
    with pytest.raises(UsageError, match="1 choice; allowed: two or more"):
        choose(AXES, AXES[:1])
