"""Answers on made-up clips each way, and the table of them."""

import numpy as np
import pytest

from engine.answering.patch_reader import shipped_patch_reader
from engine.evaluation.bench.answers import WAYS, Eyes, tabulate_answers
from engine.evaluation.bench.world import dense_world
from engine.vision.model import load_model


@pytest.mark.slow
def test_every_kind_is_counted_and_looking_is_told_apart() -> None:
    model = load_model("builtin", device="cpu")
    patch_reader = shipped_patch_reader(model)
    assert patch_reader is not None
    pool, encodings = dense_world(model, "test", 2, 3, fps=1, workers=0)
    eyes = Eyes(model, patch_reader, encodings, {clip.name: clip for clip in pool}, 1.0)
    rows = list(tabulate_answers(eyes, pool))
    *kinds, everything, gqa, iop, iou = rows
    asked = [question for clip in pool for question in clip.questions]
    assert {row[0] for row in kinds} == {question.kind for question in asked}
    assert sum(int(row[1]) for row in kinds) == everything[1] == len(asked)
    assert [row[0] for row in (everything, gqa, iop, iou)] == ["all", "Acc@GQA", "mIoP", "mIoU"]
    assert all(len(row) == 2 + len(WAYS) for row in rows)
    assert all(0 <= float(cell) <= 100 for row in rows for cell in row[2:])
    assert set(eyes.seen) == {clip.name for clip in pool}
    question = asked[0]
    looked = eyes.answer(pool[0].name, question, "looking")
    assert looked.how.startswith("looked at ")
    assert eyes.answer(pool[0].name, question, "trained head").how == "trained head"
    again = eyes.answer(pool[0].name, question, "looking")
    assert np.array_equal(looked.relevance, again.relevance)
