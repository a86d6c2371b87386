"""Which of several videos a question is about."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.answering.question_vector import question_vector, support


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """A direction each for texts that say red, that say blue, and for all others."""
    rows = np.eye(3, dtype=np.float32)
    return np.stack([rows[1 if "red" in text else 2 if "blue" in text else 0] for text in texts])


def test_all_ways_to_say_it_weigh_the_same() -> None:
    sought = question_vector("what colour is it?", ["red", "blue"], embed)
    assert np.linalg.norm(sought) == pytest.approx(1)
    assert sought[1] == pytest.approx(sought[2])
    assert sought[1] / sought[0] == pytest.approx(2**0.5)  # two of three ways name the choices


def test_the_best_frames_of_a_video_speak_for_it() -> None:
    sought = np.array([1, 0], np.float32)
    long, short = np.zeros((50, 2), np.float32), np.zeros((3, 2), np.float32)
    long[10:14, 0], short[0, 0] = 0.5, 1.0
    assert support(long, sought) == pytest.approx(0.5)
    assert support(short, sought) == pytest.approx(1 / 3)
