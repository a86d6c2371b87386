"""Losses against dense on the same items, and how sure they are."""

import numpy as np
import pytest

from engine.evaluation.paired import compare_paired

VIDEOS = [str(at // 4) for at in range(400)]


def test_the_same_hits_lose_nothing_for_sure() -> None:
    hits = np.arange(400) % 3 == 0
    found = compare_paired(hits, hits, VIDEOS)
    assert (found.loss, found.low, found.high, found.error) == (0, 0, 0, 0)
    assert found.score == found.dense == pytest.approx(100 * hits.mean())


def test_a_loss_by_hand() -> None:
    dense = np.ones(400, np.bool_)
    hits = np.arange(400) >= 40  # ten whole videos are lost
    found = compare_paired(hits, dense, VIDEOS)
    assert found.loss == pytest.approx(0.1)
    assert found.error == pytest.approx(100 * (0.1 * 0.9 / 100) ** 0.5)  # a hundred videos
    assert found.low < 0.1 < found.high


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        hard = random.random(100).repeat(4) * 0.4  # what the questions on one video share
        dense = random.random(400) > hard
        hits = dense & (random.random(400) > 0.1)
        found = compare_paired(hits, dense, VIDEOS)
        held += found.low <= 0.1 <= found.high
    assert held / 400 > 0.92


def test_dense_right_nowhere_is_no_loss() -> None:
    nothing = np.zeros(8, np.bool_)
    assert compare_paired(nothing, nothing, VIDEOS[:8]).loss == 0
