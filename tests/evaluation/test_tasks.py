"""The three tasks over made-up vectors whose scores are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.evaluation.datasets.base import Captioned, Dataset, Question
from engine.evaluation.datasets.world import world_dataset
from engine.evaluation.encodings import Encodings, TimedTurn, Vectors, drift, encode, render_pool
from engine.evaluation.tasks import embed_dataset, score, tabulate
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.streaming.dense import Dense

AXES = np.eye(8, dtype=np.float32)
WORDS = ("red", "blue", "green", "black")


def embed(texts) -> np.ndarray:
    """Put a text on the axes of its known words."""
    if not texts:
        return AXES[:0]
    rows = np.stack([AXES[[WORDS.index(w) for w in t.split() if w in WORDS]].sum(0) for t in texts])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def flash(word: str) -> Vectors:
    """Make a video that is black but for seconds 2 to 4."""
    frames = embed(["black"] * 4 + [word] * 4 + ["black"] * 4)
    return Vectors(np.arange(12) / 2, frames, 6.0, macs=12.0)


@pytest.fixture
def encodings() -> Encodings:
    """Hold three videos of one flash each."""
    videos = {word: flash(word) for word in WORDS[:3]}
    return Encodings("dense", videos, [TimedTurn(3.6, 7.2)], num_frames=36)


@pytest.fixture
def dataset() -> Dataset:
    """Ask of each video for its flash."""
    return Dataset(
        "flashes",
        tuple(Captioned(w, w, f"a {w} flash") for w in WORDS[:3]),
        tuple(
            Question(w, w, "which?", WORDS[:3], i, "colour", spans=((2.0, 4.0),))
            for i, w in enumerate(WORDS[:3])
        ),
    )


def test_perfect_vectors_score_all(dataset, encodings) -> None:
    found = score(dataset, encodings, encodings, embed_dataset(dataset, embed))
    assert found.text_to_video is not None
    assert found.text_to_video.recall_at_1 == 100
    assert found.accuracy == 100
    assert found.accuracy_by_kind == {"colour": 100}
    assert found.grounding is not None
    assert found.grounding.acc_gqa == 100
    assert found.grounding.mean_iou > 60
    assert found.drift.worst == pytest.approx(0, abs=1e-6)


def test_vectors_of_other_videos_score_nothing(dataset, encodings) -> None:
    turned = dict(
        zip(WORDS[:3], [encodings.videos[w] for w in ("blue", "green", "red")], strict=True)
    )
    turned = {name: replace(each, macs=each.macs / 4) for name, each in turned.items()}
    wrong = Encodings("wrong", turned, [TimedTurn(1.8, 2.4)], num_frames=36)
    texts = embed_dataset(dataset, embed)
    found = score(dataset, wrong, encodings, texts)
    assert found.text_to_video is not None
    assert found.text_to_video.recall_at_1 == 0
    assert found.accuracy == 0
    table = tabulate(
        "t", [score(dataset, encodings, encodings, embed_dataset(dataset, embed)), found]
    )
    [costs] = table.more
    row = dict(zip(costs.columns, costs.rows[1], strict=True))
    assert row["MACs ×"] == pytest.approx(4)
    assert row["wall ×"] == pytest.approx(2)
    assert row["CPU ×"] == pytest.approx(3)


def test_a_question_on_a_part_sees_that_part_alone(encodings) -> None:
    asked = Question("k", "red", "which?", ("black", "red"), 0, clip=(4.0, 6.0))
    data = Dataset("part", questions=(asked,))
    found = score(data, encodings, encodings, embed_dataset(data, embed))
    assert found.accuracy == 100
    assert found.grounding is None


def test_drift_by_hand(encodings) -> None:
    moved = Encodings("moved", {"red": flash("blue")}, num_frames=12)
    found = drift(moved, encodings)
    assert found.mean == pytest.approx(4 / 12)
    assert found.worst == pytest.approx(1)


def test_the_world_goes_through_a_tower() -> None:
    torch.manual_seed(0)
    tower = VisionTower(VisionConfig(2, 32, 2, 64, 16, 32, 16)).eval()
    pool = list(render_pool("test", 2, seed=5, fps=1.0, size=32, workers=0))
    dense = encode(Dense(tower), (pixels for _, pixels in pool))
    data = world_dataset(clip for clip, _ in pool)
    assert set(dense.videos) == set(data.videos)
    assert dense.num_frames == sum(int(clip.duration_seconds) for clip, _ in pool)
    assert dense.reuse == 0
    assert all(question.spans for question in data.questions)
