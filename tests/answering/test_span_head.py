"""The span head: padding, its Gaussian's edges, storage, and what it is given back for."""

import numpy as np
import pytest
import torch

from engine.answering.answer import Asked, answer_all
from engine.answering.head import AnswerHead, HeadConfig
from engine.answering.span_head import (
    Evidence,
    SpanConfig,
    SpanHead,
    SpanReader,
    Spans,
    load_span_head,
    reground,
    save_span_head,
)
from engine.errors import ModelError, UsageError

SMALL = SpanConfig(dimension=16, width=32, layers=1, heads=2)


def units(seed: int, *shape: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(*shape, SMALL.dimension))
    return (drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture
def reader() -> SpanReader:
    """Make a small head with random weights."""
    torch.manual_seed(0)
    return SpanReader(SpanHead(SMALL).eval(), "a" * 20)


def evidence(count: int, seed: int = 0, begin: float = 0.0) -> Evidence:
    seconds = begin + np.arange(count) / 2
    return Evidence(seconds, units(seed, count), units(9), begin + count / 2)


def test_a_question_s_span_does_not_depend_on_what_is_read_beside_it(reader) -> None:
    asked = [evidence(9), evidence(3, 1), evidence(14, 2), evidence(1, 3)]
    together = reader.ground(asked)
    for each, span in zip(asked, together, strict=True):
        [alone] = reader.ground([each])
        assert alone.start_seconds == pytest.approx(span.start_seconds, abs=1e-4)
        assert alone.stop_seconds == pytest.approx(span.stop_seconds, abs=1e-4)
        assert alone.peak_seconds == pytest.approx(span.peak_seconds, abs=1e-4)
        assert 0 <= span.start_seconds <= span.peak_seconds <= span.stop_seconds
        assert span.stop_seconds <= each.end_seconds
    # the same frames later in a video: the span moves along
    [later] = reader.ground([evidence(9, begin=60.0)])
    assert later.start_seconds == pytest.approx(60 + together[0].start_seconds, abs=1e-4)


def test_edges_lie_gamma_sigmas_from_the_centre_and_within_the_video() -> None:
    said = Spans(torch.tensor([0.5, 0.1, 0.5]), torch.tensor([0.36, 0.9, 0.0]), torch.zeros(3, 4))
    edges = said.edges(SpanConfig(16, sigma=9.0, gamma=2.0))
    expected = [[0.42, 0.58], [0.0, 0.3], [0.5 - 0.02 / 9, 0.5 + 0.02 / 9]]
    torch.testing.assert_close(edges, torch.tensor(expected))


def test_answers_keep_their_choice_and_get_the_head_s_evidence(reader) -> None:
    frames, texts = units(0, 8), units(4, 3)
    asked = [Asked("what?", ("a", "b", "c"), np.arange(8) / 2, frames, 4.0)]
    answers = answer_all(asked, lambda _texts: texts)
    given = [Evidence(np.arange(8) / 2, frames, texts[answers[0].choice], 4.0)]
    [ours] = reground(answers, given, reader)
    assert (ours.choice, ours.text) == (answers[0].choice, answers[0].text)
    assert [ours.evidence] == reader.ground(given)
    assert ours.evidence != answers[0].evidence


def test_a_stored_head_says_the_same_and_only_for_its_model(reader, tmp_path) -> None:
    path = tmp_path / "spans.safetensors"
    save_span_head(reader, path)
    again = load_span_head(path, "a" * 20)
    assert again.ground([evidence(5)]) == reader.ground([evidence(5)])
    with pytest.raises(ModelError, match="reads vectors of model aaaaaaaaaaaa, not of bbb"):
        load_span_head(path, "b" * 20)


def test_it_goes_on_from_what_an_answering_head_reads() -> None:
    """The frames' logits are that head's relevance; a span covers them where it learned nothing."""
    torch.manual_seed(1)
    answers = AnswerHead(HeadConfig(16, 32, 1, 2)).eval()
    head = SpanHead(SMALL).eval()
    head.start_from(answers)
    frames, seconds = torch.from_numpy(units(3, 2, 12)), torch.arange(12.0).expand(2, 12) / 2
    shown, texts = torch.ones(2, 12, dtype=torch.bool), torch.from_numpy(units(4, 2))
    _, relevance = answers(frames, seconds, shown, texts[:, None])
    with torch.inference_mode():
        said = head(frames, seconds, shown, texts)
    torch.testing.assert_close(said.inside, relevance[:, 0])
    weights, shares = relevance[:, 0].sigmoid().double().detach(), np.linspace(0, 1, 12)
    for row, centre in zip(weights.numpy(), said.centre, strict=True):
        assert float(centre) == pytest.approx(np.average(shares, weights=row), abs=1e-5)
    for row, width, centre in zip(weights.numpy(), said.width, said.centre, strict=True):
        variance = np.average((shares - float(centre)) ** 2, weights=row)
        assert float(width) == pytest.approx(2 * np.sqrt(3 * variance), abs=1e-4)
    with pytest.raises(UsageError, match=r"allowed: \(16, 32, 1, 2\)"):
        head.start_from(AnswerHead(HeadConfig(16, 32, 2, 2)))
