"""The heads over vectors learn, start as what stands without them, and take stored clips."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from engine.answering.choose import Chosen
from engine.answering.head import ReaderInput, load_reader
from engine.answering.span_head import SpanConfig, SpanHead
from engine.training import grounding, sequence
from engine.training.answers import AnswerTraining, train_head
from engine.training.fit import draw_alike, fit
from engine.training.vectors import ClipVectors, HeadPlan, WorldPool, world_vectors
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.world.clip import make_pool

WIDTH = 64


class Tiny:
    """A random tower, and texts that are drawn."""

    device = torch.device("cpu")
    space = SimpleNamespace(weight_hash="abc", dimension=16)

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.tower = VisionTower(VisionConfig(2, 32, 2, 64, 16, 32, 16)).eval()

    def embed_texts(self, texts) -> np.ndarray:
        """Draw a vector from each text's bytes."""
        rows = [np.random.default_rng(list(text.encode())).normal(size=16) for text in texts]
        return np.stack(rows).astype(np.float32)


def units(random: np.random.Generator, *shape: int) -> np.ndarray:
    drawn = random.normal(size=(*shape, WIDTH))
    return (drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)).astype(np.float16)


def told(count: int) -> list[ClipVectors]:
    """Make clips of noise whose caption is the last frame alone, and questions with one span."""
    random, found = np.random.default_rng(0), []
    for clip in make_pool("train", count, 3):
        frames = units(random, 8)
        seconds = np.arange(8) * clip.duration_seconds / 8
        at = int(random.integers(6))
        span = (seconds[at], seconds[at + 2])
        question = replace(clip.questions[0], spans=(span,))
        own = frames[at].astype(np.float32) + frames[at + 1]
        right = (own / np.linalg.norm(own)).astype(np.float16)
        statements = np.stack([right] * len(question.choices))
        asked = replace(clip, questions=(question,))
        found.append(ClipVectors(asked, seconds, frames, frames[-1], statements))
    return found


def test_a_sequence_head_starts_as_the_mean_and_learns_what_the_mean_cannot(tmp_path) -> None:
    clips = told(48)
    torch.manual_seed(0)
    head = sequence.new_head(WIDTH, 1, 77)
    pooler = sequence.SequencePooler(head, "abc")
    begun = sequence.score(pooler, clips)
    assert begun["head"] == pytest.approx(begun["mean"], abs=5)  # its places are small, not none
    frames = [clip.frames.astype(np.float32) for clip in clips]
    pooled = pooler.pool(frames, [np.ones(8, np.float32)] * len(clips))
    means = np.stack([each.mean(0) / np.linalg.norm(each.mean(0)) for each in frames])
    assert np.abs((pooled * means).sum(1)).min() > 0.99
    config = sequence.SequenceTraining(HeadPlan.usual(48, 2, 30, 5e-3, 1), batch=48, least=1.0)
    stored = sequence.CaptionedClips.of(clips, 77)
    fit(
        head,
        lambda random: {
            "loss": sequence.contrast(
                head, stored, torch.randperm(48, generator=random), 20.0, config
            )
        },
        config.plan.fitting,
        tmp_path / "log.csv",
    )
    after = sequence.score(pooler, clips)
    assert after["head"] > begun["mean"] + 20
    assert (tmp_path / "log.csv").read_text().splitlines()[0] == "step,loss,seconds"


def test_a_span_head_learns_when_the_statement_is_shown(tmp_path) -> None:
    asked = list(grounding.questions(iter(told(48))))
    torch.manual_seed(0)
    head = SpanHead(SpanConfig(WIDTH, width=32, layers=1, heads=2))
    reader = grounding.SpanReader(head, "abc")
    begun = grounding.score(reader, asked)
    config = grounding.GroundingTraining(HeadPlan.usual(48, 2, 100, 8e-3, 1), batch=48)
    stored = grounding.GroundedQuestions.of(asked)

    def step(random: torch.Generator) -> dict[str, torch.Tensor]:
        picked = torch.randint(48, (48,), generator=random)
        return grounding.losses(head, stored, picked, config)

    fit(head, step, config.plan.fitting, tmp_path / "log.csv")
    after = grounding.score(reader, asked)
    assert after["mIoU head"] > begun["mIoU head"] + 20
    assert after["mIoU whole"] == begun["mIoU whole"] == pytest.approx(25, abs=0.1)


def test_what_a_reader_answers_wrongly_is_grounded_where_the_right_answer_is() -> None:
    class Last:
        def read_all(self, asked: list[ReaderInput]) -> list[Chosen]:
            last = [len(each.statements) - 1 for each in asked]
            return [Chosen(at, (1.0,), np.zeros((1, 1))) for at in last]

    clips = told(6)
    right = list(grounding.questions(clips))
    both = list(grounding.questions(clips, Last()))
    wrong = sum(q.answer != len(q.choices) - 1 for each in clips for q in each.clip.questions)
    assert len(both) == len(right) + wrong
    assert {each.spans for each in both} == {each.spans for each in right}
    assert all(any(np.array_equal(r.statement, b.statement) for b in both) for r in right)


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11, 20])
def test_any_number_of_steps_is_taken(tmp_path, steps) -> None:
    network = torch.nn.Linear(3, 1)
    before = network.weight.detach().clone()
    plan = HeadPlan.usual(2, 2, steps, 1e-2, 1).fitting
    fit(network, lambda _: {"loss": network(torch.ones(3)).sum() ** 2}, plan, tmp_path / "log.csv")
    assert not torch.equal(network.weight, before)
    assert (tmp_path / "log.csv").read_text().splitlines()[-1].startswith(f"{steps - 1},")


def test_rows_of_like_length_are_drawn_each_as_often() -> None:
    lengths = torch.arange(100).flip(0) % 50
    random = torch.Generator().manual_seed(0)
    drawn = [draw_alike(lengths, 25, random) for _ in range(400)]
    spread = torch.stack([lengths[each].max() - lengths[each].min() for each in drawn]).float()
    assert spread.mean() < 20  # of 49
    counts = torch.bincount(torch.cat(drawn), minlength=100)  # 100 each; 10 is a deviation
    assert counts.min() > 60
    assert counts.max() < 140


def test_what_no_clip_of_a_batch_shows_changes_no_loss() -> None:
    asked = list(grounding.questions(iter(told(6))))
    torch.manual_seed(0)
    head = SpanHead(SpanConfig(WIDTH, width=32, layers=1, heads=2)).eval()
    config = replace(grounding.GroundingTraining(HeadPlan.usual(6, 2, 1, 1e-3, 1)), noise=0.0)
    stored = grounding.GroundedQuestions.of(asked)
    longer = {
        name: torch.nn.functional.pad(getattr(stored, name), pad)
        for name, pad in (("frames", (0, 0, 0, 9)), ("seconds", (0, 9)), ("shown", (0, 9)))
    }
    padded = replace(stored, inside=torch.nn.functional.pad(stored.inside, (0, 9)), **longer)
    picked = torch.arange(len(asked))
    for ours, theirs in zip(
        grounding.losses(head, stored, picked, config).values(),
        grounding.losses(head, padded, picked, config).values(),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_the_loss_of_edges_takes_the_span_that_fits_best() -> None:
    spans = torch.tensor([[[0.0, 0.2], [0.6, 1.0]]])
    assert grounding.edge_loss(torch.tensor([[0.6, 1.0]]), spans).item() == pytest.approx(0)
    half = grounding.edge_loss(torch.tensor([[0.6, 0.8]]), spans).item()
    assert half == pytest.approx(0.5 + 0.2)
    apart = grounding.edge_loss(torch.tensor([[0.3, 0.4]]), spans).item()
    assert apart == pytest.approx(1 + 0.1 / 0.4 + 0.5)  # apart by 0.1 over a hull of 0.4


def test_a_head_that_answers_is_trained_stored_and_gone_on_from(tmp_path) -> None:
    config = AnswerTraining(clips=2, validation_clips=1, max_seconds=6, fps=0.5, steps=3, workers=0)
    scores = train_head(Tiny(), config, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == scores
    log = (tmp_path / "answers.csv").read_text().splitlines()
    assert log[0] == "step,loss,choice,relevance,agreement,seconds"
    assert [line.split(",")[0] for line in log[1:]] == ["0", "2"]
    first = load_reader(tmp_path / "answers.safetensors", "abc").head.score.weight
    still = replace(config, learning_rate=0.0)
    train_head(Tiny(), still, tmp_path / "on", start=tmp_path / "answers.safetensors")
    assert torch.equal(
        load_reader(tmp_path / "on/answers.safetensors", "abc").head.score.weight, first
    )


def test_encoded_clips_are_kept_and_taken_again(tmp_path) -> None:
    tiny_model = Tiny()
    pool = WorldPool("val", 3, 5, fps=0.5)
    first = list(world_vectors(tiny_model, pool, keep=tmp_path))
    [file] = tmp_path.iterdir()
    made = file.stat().st_mtime_ns
    again = list(world_vectors(tiny_model, pool, keep=tmp_path))
    assert file.stat().st_mtime_ns == made
    for one, other in zip(first, again, strict=True):
        assert one.clip == other.clip
        for name in ("seconds", "frames", "caption", "statements"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert len(one.frames) == len(one.seconds)
        assert len(one.statements) == sum(len(q.choices) for q in one.clip.questions)
    # of another rate, or damaged: made anew
    assert len(next(world_vectors(tiny_model, replace(pool, fps=1.0), keep=tmp_path)).frames) > len(
        first[0].frames
    )
    file.write_bytes(file.read_bytes()[:100])
    [one, *_] = world_vectors(tiny_model, pool, keep=tmp_path)
    np.testing.assert_array_equal(one.frames, first[0].frames)
