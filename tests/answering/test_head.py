"""The trained head: padding, storage, and that it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Categorical, kl_divergence

from engine.answering.head import (
    AnswerHead,
    HeadConfig,
    ReaderInput,
    VectorReader,
    load_reader,
    save_reader,
)
from engine.errors import ModelError
from engine.training.answers import AnswerTraining, Example, Questions, losses, score

SMALL = HeadConfig(dimension=16, width=32, layers=1, heads=2)


def rows(random: np.random.Generator, *shape: int) -> np.ndarray:
    """Draw unit vectors."""
    drawn = random.normal(size=(*shape, SMALL.dimension))
    return (drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture
def head() -> AnswerHead:
    """Make a small head with random weights."""
    torch.manual_seed(0)
    return AnswerHead(SMALL).eval()


def test_padding_changes_nothing(head) -> None:
    random = np.random.default_rng(0)
    frames = torch.from_numpy(rows(random, 1, 9))
    texts = torch.from_numpy(rows(random, 1, 3))
    seconds = torch.arange(9).float()[None] / 2
    shown = torch.ones(1, 9, dtype=torch.bool)
    alone = head(frames, seconds, shown, texts)
    longer = [torch.cat([x, torch.zeros_like(x[:, :5])], dim=1) for x in (frames, seconds, shown)]
    padded = head(*longer, texts)
    assert torch.allclose(alone[0], padded[0], atol=1e-5)
    assert torch.allclose(alone[1], padded[1][..., :9], atol=1e-5)


def test_the_order_of_frames_matters(head) -> None:
    random = np.random.default_rng(1)
    frames, texts = rows(random, 9), rows(random, 3)
    reader = VectorReader(head, "abc")
    seconds = np.arange(9) / 2
    forward = reader.read(seconds, frames, texts)
    backward = reader.read(seconds, frames[::-1].copy(), texts)
    assert not np.allclose(forward.probabilities, backward.probabilities, atol=1e-6)


def test_a_stored_head_answers_alike_and_only_for_its_model(head, tmp_path) -> None:
    random = np.random.default_rng(2)
    frames, texts, seconds = rows(random, 6), rows(random, 4), np.arange(6) / 2
    path = tmp_path / "answers.safetensors"
    save_reader(VectorReader(head, "a" * 64), path)
    stored = load_reader(path, "a" * 64).read(seconds, frames, texts)
    direct = VectorReader(head, "a" * 64).read(seconds, frames, texts)
    assert np.allclose(stored.probabilities, direct.probabilities, atol=1e-3)
    with pytest.raises(ModelError, match="vectors of model aaaaaaaaaaaa, not of bbbbbbbbbbbb"):
        load_reader(path, "b" * 64)


def test_training_learns_which_event_came_first() -> None:
    torch.manual_seed(0)
    random = np.random.default_rng(3)
    events = rows(random, 6)

    def example() -> Example:
        first, second = random.choice(6, size=2, replace=False)
        frames = np.stack([events[first]] * 4 + [events[second]] * 4)
        order = random.permutation(2)
        texts = events[[first, second]][order]
        answer = int(order.argmin())
        seconds = np.arange(8, dtype=np.float32) / 2
        return Example(
            frames.astype(np.float16), seconds, texts.astype(np.float16), answer, ((0, 2),), "first"
        )

    head = AnswerHead(SMALL)
    optimiser = torch.optim.AdamW(head.parameters(), 3e-3)
    config = AnswerTraining(frame_noise=0.0)
    for _ in range(150):
        picked = Questions.of([example() for _ in range(32)], torch.device("cpu"))
        found = losses(head, picked, config)
        optimiser.zero_grad()
        found.total(config).backward()
        optimiser.step()
    head.eval()
    reader = VectorReader(head, "x")
    checks = [example() for _ in range(50)]
    chosen = [
        reader.read(
            check.seconds.astype(np.float64),
            check.frames.astype(np.float32),
            check.statements.astype(np.float32),
        )
        for check in checks
    ]
    hits = [c.choice == check.answer for c, check in zip(chosen, checks, strict=True)]
    assert np.mean(hits) >= 0.9  # chance is one half
    early = np.mean(
        [c.relevance[check.answer][:4] for c, check in zip(chosen, checks, strict=True)]
    )
    late = np.mean([c.relevance[check.answer][4:] for c, check in zip(chosen, checks, strict=True)])
    assert early > late + 0.5


def test_training_beside_a_strategy_s_vectors_says_the_same_of_both() -> None:
    torch.manual_seed(0)
    random = np.random.default_rng(5)

    def example() -> Example:
        frames, texts = rows(random, 6), rows(random, 4)
        stored = frames + 0.05 * rows(random, 6)
        seconds = np.arange(6, dtype=np.float32) / 2
        half = [each.astype(np.float16) for each in (frames, texts, stored)]
        return Example(half[0], seconds, half[1], 2, ((1, 2),), "shape", half[2])

    examples = [example() for _ in range(48)]
    config = AnswerTraining(frame_noise=0.0)
    questions = Questions.of(examples, torch.device("cpu"))
    head = AnswerHead(SMALL).eval()
    apart = losses(head, questions, config).agreement
    same = replace(questions, stored=questions.frames)
    assert losses(head, same, config).agreement == 0 < apart
    assert losses(head, replace(questions, stored=None), config).agreement == 0
    optimiser = torch.optim.AdamW(head.parameters(), 1e-3)
    for _ in range(30):
        optimiser.zero_grad()
        losses(head, questions.take(torch.randint(48, (24,))), config).agreement.backward()
        optimiser.step()
    assert losses(head, questions, config).agreement < apart / 2
    found = score(VectorReader(head, "x"), examples)
    assert found["all"] == found["shape"]
    assert 0 <= found["by strategies"] <= 100
    assert found["same"] >= 90


@pytest.mark.parametrize("silent", ["score", "relevance"])
def test_how_far_apart_two_readings_are_is_their_mean_divergence(silent) -> None:
    torch.manual_seed(1)
    random = np.random.default_rng(6)
    frames, stored, texts = (rows(random, *shape) for shape in ((5, 7), (5, 7), (5, 4)))
    half = [each.astype(np.float16) for each in (frames, texts, stored)]
    seconds = np.arange(7, dtype=np.float32) / 2
    examples = [
        Example(half[0][at], seconds, half[1][at], at % 4, ((0, 2),), "shape", half[2][at])
        for at in range(5)
    ]
    head = AnswerHead(SMALL).eval()
    torch.nn.init.zeros_(getattr(head, silent).weight)  # so that the other alone counts
    picked = Questions.of(examples, torch.device("cpu"))
    told = losses(head, picked, AnswerTraining(frame_noise=0.0)).agreement
    args = picked.seconds[picked.clip], picked.shown[picked.clip], picked.statements.float()
    both = [head(each[picked.clip].float(), *args) for each in (picked.frames, picked.stored)]
    if silent == "score":
        held = [Bernoulli(logits=relevance[range(5), picked.answers]) for _, relevance in both]
    else:
        held = [Categorical(logits=scores) for scores, _ in both]
    apart = kl_divergence(held[0], held[1]) + kl_divergence(held[1], held[0])
    assert told.item() == pytest.approx(apart.mean().item() / 2, rel=0.05)  # read in bfloat16


def test_reading_many_at_once_is_reading_each(head) -> None:
    random = np.random.default_rng(4)
    sizes = ((9, 4), (3, 4), (9, 2), (1, 4), (17, 2))
    asked = [ReaderInput(np.arange(f) / 2 + 3, rows(random, f), rows(random, c)) for f, c in sizes]
    reader = VectorReader(head, "abc")
    for one, many in zip(asked, reader.read_all(asked), strict=True):
        alone = reader.read(one.seconds, one.frames, one.statements)
        assert many.relevance.shape == (len(one.statements), len(one.frames))
        assert np.allclose(many.probabilities, alone.probabilities, atol=1e-5)
        assert np.allclose(many.relevance, alone.relevance, atol=1e-5)
