"""Every metric against values worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.evaluation.metrics import (
    accuracy,
    accuracy_by_kind,
    grounding,
    overlap,
    retrieval,
    video_to_text,
)

SCORES = np.array(
    [
        [0.9, 0.1, 0.2],  # right one first
        [0.8, 0.5, 0.1],  # right one second
        [0.7, 0.6, 0.3],  # right one third
    ]
)


def test_retrieval_by_hand() -> None:
    found = retrieval(SCORES)
    assert found.recall_at_1 == pytest.approx(100 / 3)
    assert found.recall_at_5 == 100
    assert found.median_rank == 2
    assert found.mean_rank == pytest.approx(2)
    assert found.num_tied == 0


def test_the_other_way_round() -> None:
    found = retrieval(SCORES.T)
    # columns: 0.9 is first; 0.5 is behind 0.6; 0.3 is first
    assert found.recall_at_1 == pytest.approx(200 / 3)
    assert found.mean_rank == pytest.approx(4 / 3)


def test_ties_count_as_their_mean_rank_and_are_told() -> None:
    found = retrieval(np.ones((4, 4)))
    assert found.num_tied == 4
    assert found.mean_rank == 2.5
    assert found.recall_at_1 == 0


def test_several_captions_of_a_video() -> None:
    scores = np.array([[0.2, 0.9], [0.8, 0.1], [0.3, 0.4]])
    truth = [0, 0, 1]
    assert retrieval(scores, truth).recall_at_1 == pytest.approx(200 / 3)
    # video 0: its best caption scores 0.8 against 0.3; video 1: 0.4 against 0.9
    assert video_to_text(scores, truth).recall_at_1 == 50


@given(st.integers(2, 12), st.integers(0, 1000))
def test_a_monotone_map_changes_no_rank(size: int, seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(size, size))
    assert retrieval(scores) == retrieval(np.exp(scores))


def test_accuracy_by_hand() -> None:
    assert accuracy([1, 2, 0, 3], [1, 2, 3, 3]) == 75
    kinds = accuracy_by_kind([1, 2, 0, 3], [1, 2, 3, 3], ["how", "how", "why", "why"])
    assert kinds == {"how": 100, "why": 50}


@pytest.mark.parametrize(
    ("predicted", "truth", "iop", "iou"),
    [
        ((0, 10), (5, 15), 0.5, 5 / 15),
        ((5, 15), (0, 20), 1.0, 0.5),
        ((0, 2), (4, 6), 0.0, 0.0),
        ((5, 5), (0, 10), 1.0, 0.0),
        ((11, 11), (0, 10), 0.0, 0.0),
    ],
)
def test_overlap_by_hand(predicted, truth, iop, iou) -> None:
    assert overlap(predicted, truth) == pytest.approx((iop, iou))


def test_grounding_by_hand() -> None:
    truth = {"a": [(0, 10)], "b": [(0, 2), (8, 10)], "c": [(5, 6)]}
    found = grounding(
        answers={"a": 0, "b": 1, "c": 2},
        predicted={"a": 0, "b": 2, "c": 2},
        truth=truth,
        spans={"a": (5, 15), "b": (8, 10)},
    )
    assert found.acc_qa == pytest.approx(200 / 3)
    assert found.acc_gqa == pytest.approx(100 / 3)  # a alone: right, and IoP is 0.5
    assert found.mean_iop == pytest.approx(100 * (0.5 + 1 + 0) / 3)
    assert found.mean_iou == pytest.approx(100 * (1 / 3 + 1 + 0) / 3)
    assert found.iou_at_03 == pytest.approx(200 / 3)
    assert found.iou_at_05 == pytest.approx(100 / 3)
    assert found.num_missing == 1


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected"):
        retrieval(np.empty((0, 0)))
    with pytest.raises(ValueError, match="expected"):
        grounding({}, {}, {}, {})
    with pytest.raises(ValueError, match="expected"):
        accuracy([], [])
