"""Train the answering head on the made-up world, over vectors as dense and others store them."""

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from engine.answering.choose import statements
from engine.answering.head import (
    AnswerHead,
    HeadConfig,
    ReaderInput,
    VectorReader,
    load_reader,
    save_reader,
)
from engine.training.fit import FitPlan, draw_alike, fit
from engine.training.vectors import SIDE_BY_SIDE, chunks, unit_vectors
from engine.vision.model import Model
from engine.vision.registry import build_strategy
from engine.vision.streaming.strategy import Strategy
from engine.world.ahead import render_ahead
from engine.world.clip import make_clip
from engine.world.render import instants
from engine.world.scene import Clip
from engine.world.splits import Split

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AnswerTraining:
    """Everything that decides a training run."""

    clips: int = 6000
    validation_clips: int = 300
    max_seconds: float = 30.0
    fps: float = 2.0
    steps: int = 4000
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    relevance_weight: float = 0.5
    agreement_weight: float = 1.0  # of what is said of dense and of a strategy's vectors
    frame_noise: float = 0.01  # of the vectors, against rounding and coding
    workers: int = 2
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Example:
    """One question on one clip, as vectors."""

    frames: NDArray[np.float16]  # [F, E]
    seconds: NDArray[np.float32]  # [F]
    statements: NDArray[np.float16]  # [C, E]
    answer: int
    spans: tuple[tuple[float, float], ...]
    kind: str
    stored: NDArray[np.float16] | None = None  # [F, E], the same frames by a strategy


@dataclass(frozen=True, slots=True)
class HeadLosses:
    """The terms of the loss."""

    choice: Tensor
    relevance: Tensor
    agreement: Tensor  # zero without a strategy

    def total(self, config: AnswerTraining) -> Tensor:
        """Return their weighted sum."""
        relevance = config.relevance_weight * self.relevance
        return self.choice + relevance + config.agreement_weight * self.agreement

    def terms(self, config: AnswerTraining) -> dict[str, Tensor]:
        """Return their weighted sum, and each."""
        return {"loss": self.total(config)} | {f.name: getattr(self, f.name) for f in fields(self)}


def train_head(
    model: Model,
    config: AnswerTraining,
    out: Path,
    *,
    strategies: Mapping[str, Strategy] | None = None,
    start: Path | None = None,
) -> dict[str, float]:
    """Train a head for `model`, write it and its log to `out`, and return validation scores.

    With strategies each clip is encoded densely and by one of them, in turns: the head learns to
    answer from both, and to say the same of both. `start` is a head to go on from.
    """
    torch.manual_seed(config.seed)
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    made = strategies or {}
    head = AnswerHead(HeadConfig(model.space.dimension))
    if start is not None:
        head.load_state_dict(load_reader(start, model.space.weight_hash).head.state_dict())
    examples = list(make_examples(model, config, "train", config.clips, config.seed, made))
    log.info("%d questions in %.0f s", len(examples), time.monotonic() - began)
    head = head.requires_grad_().to(model.device)
    questions = Questions.of(examples, model.device)
    lengths = torch.tensor([len(each.frames) for each in examples])

    def step(random: torch.Generator) -> Mapping[str, Tensor]:
        picked = draw_alike(lengths, config.batch, random)
        return losses(head, questions.take(picked.to(model.device)), config).terms(config)

    fitting = FitPlan(
        config.steps, config.learning_rate, config.weight_decay, config.seed, warmup=0.05
    )
    fit(head, step, fitting, out / "answers.csv")
    reader = VectorReader(head.requires_grad_(False), model.space.weight_hash)
    save_reader(reader, out / "answers.safetensors")
    checks = make_examples(model, config, "val", config.validation_clips, config.seed, made)
    scores = score(reader, list(checks))
    (out / "report.json").write_text(json.dumps(scores, indent=2) + "\n")
    return scores


def losses(head: AnswerHead, picked: "Questions", config: AnswerTraining) -> HeadLosses:
    """Cross-entropy of the choices, and of the right choice's relevance against its spans.

    Where a strategy's vectors stand beside dense ones both count, and how far apart they are read.
    """
    own = _read(head, picked, picked.frames, config)
    if picked.stored is None:
        return HeadLosses(own.choice, own.relevance, own.choice.new_zeros(()))
    theirs = _read(head, picked, picked.stored, config)
    choice, relevance = (
        (getattr(own, k) + getattr(theirs, k)) / 2 for k in ("choice", "relevance")
    )
    return HeadLosses(choice, relevance, _apart(theirs, own))


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a head makes of some questions, and its losses."""

    scores: Tensor  # [B, C]
    held: Tensor  # logits of the right choice's relevance, [B, F]
    shown: Tensor  # bool [B, F]
    choice: Tensor
    relevance: Tensor


def _apart(theirs: _Reading, own: _Reading) -> Tensor:
    """Mean divergence, of either from the other, of the choices and of the right one's relevance.

    Neither is held fixed: one network reads both, so drawing one after the other moves both.
    """
    both = [each.scores.log_softmax(1) for each in (own, theirs)]
    apart = [F.kl_div(a, b, reduction="batchmean", log_target=True) for a, b in (both, both[::-1])]
    held = (own.held.sigmoid() - theirs.held.sigmoid()) * (own.held - theirs.held)
    return (apart[0] + apart[1] + (held * own.shown).sum() / own.shown.sum()) / 2


def _read(
    head: AnswerHead, picked: "Questions", frames: Tensor, config: AnswerTraining
) -> _Reading:
    clip, inside = picked.clip, picked.inside
    longest = int(picked.shown[clip].sum(1).max())
    frames, shown = frames[clip, :longest].float(), picked.shown[clip, :longest]
    frames = F.normalize(frames + config.frame_noise * torch.randn_like(frames), dim=-1)
    with torch.autocast(frames.device.type, torch.bfloat16):
        scores, relevance = head(
            frames, picked.seconds[clip, :longest], shown, picked.statements.float()
        )
    scores = scores.float()
    held = relevance[torch.arange(len(scores), device=scores.device), picked.answers].float()
    per_frame = F.binary_cross_entropy_with_logits(
        held, inside[:, :longest].float(), reduction="none"
    )
    return _Reading(
        scores,
        held,
        shown,
        choice=F.cross_entropy(scores, picked.answers, label_smoothing=0.02),
        relevance=(per_frame * shown).sum() / shown.sum(),
    )


@dataclass(frozen=True, slots=True)
class Questions:
    """Examples side by side on a device, padded to the longest clip and the most choices.

    What is of a clip stands once; a padded choice repeats a wrong one.
    """

    frames: Tensor  # float16 [V, F, E]
    stored: Tensor | None  # float16 [V, F, E]
    seconds: Tensor  # [V, F]
    shown: Tensor  # bool [V, F]
    clip: Tensor  # [N], each question's
    statements: Tensor  # float16 [N, C, E]
    answers: Tensor  # [N]
    inside: Tensor  # bool [N, F], frames within the spans that answer

    @classmethod
    def of(cls, examples: Sequence[Example], device: torch.device) -> "Questions":
        """Put examples side by side; those of one clip share its arrays."""
        clips = list({id(each.frames): each for each in examples}.values())
        places = {id(each.frames): place for place, each in enumerate(clips)}
        most = max(len(each.statements) for each in examples)
        seconds = _padded([each.seconds for each in clips])
        shown = _padded([np.ones(len(each.frames), np.bool_) for each in clips])
        stored = [each.stored for each in clips if each.stored is not None]
        inside = torch.zeros(len(examples), shown.shape[1], dtype=torch.bool)
        for row, each in enumerate(examples):
            for begin, end in each.spans:
                within = (each.seconds >= begin) & (each.seconds < end)
                inside[row, : len(within)] |= torch.from_numpy(within)
        made = cls(
            frames=_padded([each.frames for each in clips]),
            stored=_padded(stored) if stored else None,
            seconds=seconds,
            shown=shown,
            clip=torch.tensor([places[id(each.frames)] for each in examples]),
            statements=torch.from_numpy(np.stack([_choices_of(each, most) for each in examples])),
            answers=torch.tensor([each.answer for each in examples]),
            inside=inside,
        )
        return made.to(device)

    def to(self, device: torch.device) -> "Questions":
        """Move all tensors to a device."""
        held = {each.name: getattr(self, each.name) for each in fields(self)}
        return replace(
            self, **{name: each.to(device) for name, each in held.items() if each is not None}
        )

    def take(self, at: Tensor) -> "Questions":
        """Return some of the questions, of the same clips."""
        per_question = ("clip", "statements", "answers", "inside")
        return replace(self, **{name: getattr(self, name)[at] for name in per_question})


def _padded(rows: Sequence[NDArray[Any]]) -> Tensor:
    return pad_sequence([torch.from_numpy(each) for each in rows], batch_first=True)


def _choices_of(example: Example, most: int) -> NDArray[np.float16]:
    wrong = (example.answer + 1) % len(example.statements)
    rows = [*range(len(example.statements)), *[wrong] * (most - len(example.statements))]
    return example.statements[rows]


def score(reader: VectorReader, examples: Sequence[Example]) -> dict[str, float]:
    """Accuracy in percent, overall and by kind of question; with a strategy also from its vectors.

    `same` are the questions, in percent, to which both vectors give one answer.
    """
    said = _choices(reader, examples, [example.frames for example in examples])
    right = np.array([example.answer for example in examples])
    kinds = np.array([example.kind for example in examples])
    found = {"all": 100 * float((said == right).mean())}
    for kind in sorted(set(kinds)):
        found[str(kind)] = 100 * float((said == right)[kinds == kind].mean())
    stored = [example.stored for example in examples if example.stored is not None]
    if stored:
        by_strategy = _choices(reader, examples, stored)
        found["by strategies"] = 100 * float((by_strategy == right).mean())
        found["same"] = 100 * float((by_strategy == said).mean())
    return found


def _choices(
    reader: VectorReader, examples: Sequence[Example], frames: Sequence[NDArray[np.float16]]
) -> NDArray[np.int64]:
    asked = [
        ReaderInput(
            each.seconds.astype(np.float64),
            own.astype(np.float32),
            each.statements.astype(np.float32),
        )
        for each, own in zip(examples, frames, strict=True)
    ]
    return np.array([chosen.choice for chosen in reader.read_all(asked)], np.int64)


def make_examples(
    model: Model,
    config: AnswerTraining,
    split: Split,
    clips: int,
    seed: int,
    strategies: Mapping[str, Strategy] | None = None,
) -> Iterator[Example]:
    """Render clips on all workers, encode their frames and their questions' statements."""
    draw = np.random.default_rng([seed, len(split)])
    made = (
        make_clip(
            int(draw.integers(1 << 40)),
            split,
            duration_seconds=float(draw.uniform(5, config.max_seconds)),
        )
        for _ in range(clips)
    )
    dense = build_strategy("dense", model.tower)
    turns = cycle((strategies or {}).values()) if strategies else None
    size = model.tower.config.image_size
    rendered = render_ahead(made, fps=config.fps, size=size, workers=config.workers)
    while batch := list(islice(rendered, SIDE_BY_SIDE[model.device.type])):
        whole = chunks(model, (planes for _, planes in batch))
        own = unit_vectors(dense, whole)
        stored = unit_vectors(next(turns), whole) if turns else [None] * len(batch)
        yield from _ask(model, config.fps, [clip for clip, _ in batch], own, stored)


def _ask(
    model: Model,
    fps: float,
    clips: Sequence[Clip],
    own: Sequence[NDArray[np.float16]],
    stored: Iterable[NDArray[np.float16] | None],
) -> Iterator[Example]:
    """An example for each question on the clips of a batch."""
    texts = [
        statement
        for clip in clips
        for question in clip.questions
        for statement in statements(question.text, question.choices)
    ]
    embedded = iter(model.embed_texts(texts).astype(np.float16))
    for clip, frames, reused in zip(clips, own, stored, strict=True):
        seconds = instants(clip, fps).astype(np.float32)
        for question in clip.questions:
            rows = np.stack(list(islice(embedded, len(question.choices))))
            yield Example(
                frames, seconds, rows, question.answer, question.spans, question.kind, reused
            )
