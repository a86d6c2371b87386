"""From a question to an answer with evidence."""

from dataclasses import replace

import numpy as np
import torch

from engine.answering.answer import Asked, answer_all
from engine.answering.candidates import COLOURS, DOINGS, THINGS, candidates
from engine.answering.head import AnswerHead, HeadConfig, VectorReader

AXES = np.eye(20, dtype=np.float32)
WORDS = {word: index for index, word in enumerate(("colour", *COLOURS))}


def embed(texts) -> np.ndarray:
    """Put a text on the axes of its known words."""
    found = [[WORDS[w] for w in t.replace("?", "").lower().split() if w in WORDS] for t in texts]
    summed = np.stack([AXES[indices].sum(0) for indices in found])
    return summed / np.linalg.norm(summed, axis=1, keepdims=True)


def frames_of(*words: str) -> np.ndarray:
    """Make one frame a word."""
    return embed([f"colour {word}" for word in words])


def test_the_answer_comes_with_its_seconds() -> None:
    frames = frames_of(*["black"] * 8, *["red"] * 4, *["black"] * 8)
    asked = Asked("What colour flashes?", ["blue", "red"], np.arange(20) / 2, frames)
    [found] = answer_all([asked], embed)
    assert (found.text, found.choice, found.how) == ("red", 1, "similarity")
    assert found.evidence.start_seconds >= 3.5
    assert found.evidence.stop_seconds <= 6.5


def test_a_trained_head_s_evidence_is_where_the_answer_is_likelier_seen_than_not() -> None:
    torch.manual_seed(0)
    frames = frames_of(*(["red"] * 3 + ["blue"] * 5) * 2)
    reader = VectorReader(AnswerHead(HeadConfig(20, 32, 1, 2)).eval(), "x")
    asked = Asked("What colour flashes?", ["blue", "red"], np.arange(16) / 2, frames, 8.0)
    [found] = answer_all([asked], embed, reader=reader)
    for level in np.quantile(found.relevance, (0.3, 0.6, 0.9)):  # each taken for one half in turn
        bias = float(np.log(level / (1 - level)))
        moved = AnswerHead(HeadConfig(20, 32, 1, 2)).eval()
        moved.load_state_dict(reader.head.state_dict())
        moved.relevance.bias.data -= bias
        [said] = answer_all([asked], embed, reader=replace(reader, head=moved))
        first = last = int(said.relevance.argmax())
        while first > 0 and said.relevance[first - 1] >= 0.5:
            first -= 1
        while last < 15 and said.relevance[last + 1] >= 0.5:
            last += 1
        assert (said.evidence.start_seconds, said.evidence.stop_seconds) == (
            first / 2,
            (last + 1) / 2,
        )
        assert (said.choice, said.how) == (found.choice, "trained head")


def test_without_choices_common_answers_are_tried() -> None:
    asked = Asked("What colour is it?", None, np.arange(4) / 2, frames_of(*["pink"] * 4))
    [found] = answer_all([asked], embed)
    assert found.text == "pink"
    assert found.choices == COLOURS


def test_the_beginning_of_a_question_decides_its_candidates() -> None:
    assert candidates("What does the man do after that?") is DOINGS
    assert candidates("what is the dog doing") is DOINGS
    assert candidates("What is the man holding?") is THINGS
    assert candidates(" WHICH color is the car") is COLOURS
