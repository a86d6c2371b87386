"""Train the span head on the made-up world, whose scripts know every span that answers."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from engine.answering.ground import overlap
from engine.answering.head import ReaderInput, VectorReader
from engine.answering.span_head import (
    Evidence,
    SpanConfig,
    SpanHead,
    SpanReader,
    Spans,
    save_span_head,
)
from engine.training.fit import draw_alike, fit
from engine.training.vectors import ClipVectors, HeadPlan, world_vectors
from engine.vision.model import Model

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class GroundingTraining:
    """Everything that decides a training run."""

    plan: HeadPlan
    batch: int = 128
    noise: float = 0.01  # of the vectors, against rounding and coding
    weight_edges: float = 2.0
    weight_inside: float = 1.0


@dataclass(frozen=True, slots=True)
class GroundedQuestion:
    """One question with its right answer."""

    clip: ClipVectors
    statement: NDArray[np.float16]  # [E]
    spans: tuple[Span, ...]


def train_grounding(
    model: Model,
    config: GroundingTraining,
    out: Path,
    *,
    workers: int = 0,
    keep: Path | None = None,
    start: VectorReader | None = None,
) -> dict[str, float]:
    """Train a head for `model`, write it and its log to `out`, and return validation scores.

    `keep` is a folder of encoded clips, see `world_vectors`. With `start` it goes on from what an
    answering head reads, and learns the evidence of what that one answers beside the right answers.
    """
    torch.manual_seed(config.plan.fitting.seed)
    clips = world_vectors(model, config.plan.pool, workers=workers, keep=keep)
    asked = [said for each in clips for said in questions([each], start)]
    head = SpanHead(SpanConfig(model.space.dimension)).to(model.device)
    if start is not None:
        head.start_from(start.head)
    stored = GroundedQuestions.of(asked).to(model.device)
    lengths = torch.tensor([len(each.clip.frames) for each in asked])

    def step(random: torch.Generator) -> Mapping[str, Tensor]:
        picked = draw_alike(lengths, config.batch, random).to(model.device)
        return losses(head, stored, picked, config)

    fit(head, step, config.plan.fitting, out / "grounding.csv")
    reader = SpanReader(head.requires_grad_(False), model.space.weight_hash)
    save_span_head(reader, out / "grounding.safetensors")
    checks = world_vectors(model, config.plan.validation, workers=workers, keep=keep)
    scores = score(reader, list(questions(checks)))
    (out / "report.json").write_text(json.dumps(scores, indent=2) + "\n")
    return scores


def questions(
    clips: Iterable[ClipVectors], reader: VectorReader | None = None
) -> Iterator[GroundedQuestion]:
    """All questions of clips, each with the statement of its right answer.

    With a reader also with that of what it answers, where it is wrong: the evidence is the same.
    """
    for each in clips:
        at, asked = 0, []
        for question in each.clip.questions:
            asked.append(each.statements[at : at + len(question.choices)])
            at += len(question.choices)
        for question, said, chosen in zip(
            each.clip.questions, asked, _chosen(each, asked, reader), strict=True
        ):
            for choice in dict.fromkeys((question.answer, chosen)):
                if choice is not None:
                    yield GroundedQuestion(each, said[choice], question.spans)


def _chosen(
    clip: ClipVectors, asked: Sequence[NDArray[np.float16]], reader: VectorReader | None
) -> list[int | None]:
    if reader is None:
        return [None] * len(asked)
    frames = clip.frames.astype(np.float32)
    inputs = [ReaderInput(clip.seconds, frames, said.astype(np.float32)) for said in asked]
    return [found.choice for found in reader.read_all(inputs)]


@dataclass(frozen=True, slots=True)
class GroundedQuestions:
    """Questions side by side; what is of a clip stands once, padded to the longest."""

    frames: Tensor  # float16 [V, F, E]
    seconds: Tensor  # [V, F]
    shown: Tensor  # bool [V, F]
    clip: Tensor  # [N], each question's
    statements: Tensor  # float16 [N, E]
    inside: Tensor  # bool [N, F], frames within the spans that answer
    spans: Tensor  # [N, S, 2], shares of the video; the last one is repeated

    @classmethod
    def of(cls, asked: Sequence[GroundedQuestion]) -> "GroundedQuestions":
        """Put questions side by side."""
        clips = list({id(each.clip): each.clip for each in asked}.values())
        places = {id(clip): place for place, clip in enumerate(clips)}
        counts = torch.tensor([len(each.frames) for each in clips])
        shown = torch.arange(int(counts.max())) < counts[:, None]
        most = max(len(each.spans) for each in asked)
        inside = torch.zeros(len(asked), shown.shape[1], dtype=torch.bool)
        spans = torch.zeros(len(asked), most, 2)
        for row, each in enumerate(asked):
            length = each.clip.clip.duration_seconds
            shares = [(start / length, stop / length) for start, stop in each.spans]
            spans[row] = torch.tensor(shares + [shares[-1]] * (most - len(shares)))
            for start, stop in each.spans:
                within = (each.clip.seconds >= start) & (each.clip.seconds < stop)
                inside[row, : len(within)] |= torch.from_numpy(within)
        return cls(
            frames=pad_sequence([torch.from_numpy(c.frames) for c in clips], batch_first=True),
            seconds=pad_sequence(
                [torch.from_numpy(c.seconds).float() for c in clips], batch_first=True
            ),
            shown=shown,
            clip=torch.tensor([places[id(each.clip)] for each in asked]),
            statements=torch.from_numpy(np.stack([each.statement for each in asked])),
            inside=inside,
            spans=spans,
        )

    def to(self, device: torch.device) -> "GroundedQuestions":
        """Move all tensors to a device."""
        names = ("frames", "seconds", "shown", "clip", "statements", "inside", "spans")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


def losses(
    head: SpanHead, stored: GroundedQuestions, picked: Tensor, config: GroundingTraining
) -> dict[str, Tensor]:
    """Edges against the span that fits best, and each frame's logit against all of them."""
    clip = stored.clip[picked]
    longest = int(stored.shown[clip].sum(1).max())
    frames, shown = stored.frames[clip, :longest].float(), stored.shown[clip, :longest]
    frames = F.normalize(frames + config.noise * torch.randn_like(frames), dim=-1)
    seconds = stored.seconds[clip, :longest]
    said: Spans = head(frames, seconds, shown, stored.statements[picked].float())
    edges = edge_loss(said.edges(head.config), stored.spans[picked])
    target = stored.inside[picked, :longest].float()
    each = F.binary_cross_entropy_with_logits(said.inside, target, reduction="none")
    inside = (each * shown).sum() / shown.sum()
    loss = config.weight_edges * edges + config.weight_inside * inside
    return {"loss": loss, "edges": edges, "inside": inside}


def edge_loss(edges: Tensor, spans: Tensor) -> Tensor:
    """One minus the overlap, and how far the edges are off, of the nearest of the true spans.

    Args:
        edges: start and stop, `[B, 2]`.
        spans: true ones, `[B, S, 2]`.
    """
    own = edges[:, None]
    shared = torch.minimum(own[..., 1], spans[..., 1]) - torch.maximum(own[..., 0], spans[..., 0])
    hull = torch.maximum(own[..., 1], spans[..., 1]) - torch.minimum(own[..., 0], spans[..., 0])
    overlap = shared / hull.clamp_min(1e-6)  # below zero where they are apart, so it pulls
    cost = 1 - overlap + (own - spans).abs().sum(-1)
    return cost.amin(1).mean()


def score(reader: SpanReader, asked: Sequence[GroundedQuestion]) -> dict[str, float]:
    """Overlap with the best of the true spans, of right answers: mean and share at half, percent.

    `whole` is what a span as long as the video gets.
    """
    evidence = [
        Evidence(
            each.clip.seconds,
            each.clip.frames.astype(np.float32),
            each.statement.astype(np.float32),
            each.clip.clip.duration_seconds,
        )
        for each in asked
    ]
    found = [(span.start_seconds, span.stop_seconds) for span in reader.ground(evidence)]
    whole = [(0.0, each.end_seconds) for each in evidence]
    told = {}
    for name, said in (("head", found), ("whole", whole)):
        best = np.array([_best(span, each.spans) for span, each in zip(said, asked, strict=True)])
        told[f"mIoU {name}"] = 100 * float(best.mean())
        told[f"IoU@0.5 {name}"] = 100 * float((best >= 0.5).mean())
    return told


def _best(said: Span, spans: Sequence[Span]) -> float:
    """Overlap over the hull, with the true span that fits best."""
    return max(overlap(said, span)[1] for span in spans)
