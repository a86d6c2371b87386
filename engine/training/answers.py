"""Train the answering head on the made-up world, over a frozen model's vectors."""

import csv
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from engine.answering.choose import statements
from engine.answering.head import AnswerHead, HeadConfig, VectorReader, save_reader
from engine.vision.model import Model
from engine.world.clip import make_clip
from engine.world.render import render_at
from engine.world.scene import WorldQuestion
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
    frame_noise: float = 0.01  # of the vectors, against rounding, coding and reuse
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


def train_head(model: Model, config: AnswerTraining, out: Path) -> dict[str, float]:
    """Train a head for `model`, write it and its log to `out`, and return validation scores."""
    torch.manual_seed(config.seed)
    out.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    examples = list(make_examples(model, config, "train", config.clips, config.seed))
    checks = list(make_examples(model, config, "val", config.validation_clips, config.seed))
    log.info("%d questions in %.0f s", len(examples), time.monotonic() - start)
    head = AnswerHead(HeadConfig(model.space.dimension)).to(model.device)
    optimiser = torch.optim.AdamW(
        head.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, config.steps, pct_start=0.05
    )
    random = np.random.default_rng(config.seed)
    with (out / "answers.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "loss", "choice_loss", "relevance_loss", "seconds"])
        for step in range(config.steps):
            picked = [examples[i] for i in random.integers(len(examples), size=config.batch)]
            choice_loss, relevance_loss = losses(head, picked, config, model.device)
            loss = choice_loss + config.relevance_weight * relevance_loss
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            if step % 100 == 0 or step + 1 == config.steps:
                values = [round(v.item(), 5) for v in (loss, choice_loss, relevance_loss)]
                writer.writerow([step, *values, round(time.monotonic() - start, 1)])
                log.info("step %d: loss %.3f, choice %.3f, relevance %.3f", step, *values)
    reader = VectorReader(head.float().cpu().eval().requires_grad_(False), model.space.weight_hash)
    save_reader(reader, out / "answers.safetensors")
    return score(reader, checks)


def losses(
    head: AnswerHead, picked: Sequence[Example], config: AnswerTraining, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the choices, and of the right choice's relevance against its spans."""
    frames, seconds, shown, texts, answers, inside = _collate(picked, device)
    frames = F.normalize(frames + config.frame_noise * torch.randn_like(frames), dim=-1)
    with torch.autocast(device.type, torch.bfloat16):
        scores, relevance = head(frames, seconds, shown, texts)
    own = relevance[torch.arange(len(answers)), answers].float()
    per_frame = F.binary_cross_entropy_with_logits(own, inside, reduction="none")
    choice_loss = F.cross_entropy(scores.float(), answers, label_smoothing=0.02)
    return choice_loss, (per_frame * shown).sum() / shown.sum()


def score(reader: VectorReader, examples: Sequence[Example]) -> dict[str, float]:
    """Accuracy in percent, overall and by kind of question."""
    hits: dict[str, list[bool]] = {}
    for example in examples:
        chosen = reader.read(
            example.seconds.astype(np.float64),
            example.frames.astype(np.float32),
            example.statements.astype(np.float32),
        )
        hits.setdefault(example.kind, []).append(chosen.choice == example.answer)
    everything = [hit for kind in hits.values() for hit in kind]
    return {"all": 100 * float(np.mean(everything))} | {
        kind: 100 * float(np.mean(values)) for kind, values in sorted(hits.items())
    }


def make_examples(
    model: Model, config: AnswerTraining, split: Split, clips: int, seed: int
) -> Iterator[Example]:
    """Render clips on all workers, encode their frames and their questions' statements."""
    draw = np.random.default_rng([seed, len(split)])
    jobs = [
        (int(draw.integers(1 << 40)), split, float(draw.uniform(5, config.max_seconds)), config.fps)
        for _ in range(clips)
    ]
    with ProcessPoolExecutor(config.workers, mp_context=get_context("spawn")) as pool:
        rendered = pool.map(_render, jobs, chunksize=4)
        while batch := list(islice(rendered, 16)):
            pixels = torch.from_numpy(np.concatenate([frames for frames, _, _ in batch]))
            vectors = _encode(model, pixels)
            texts = [
                statement
                for _, _, asked in batch
                for question in asked
                for statement in statements(question.text, question.choices)
            ]
            embedded = iter(model.embed_texts(texts).astype(np.float16))
            for (frames, seconds, asked), own in zip(
                batch, np.split(vectors, np.cumsum([len(b[0]) for b in batch])[:-1]), strict=True
            ):
                assert len(frames) == len(own)
                for question in asked:
                    rows = np.stack(list(islice(embedded, len(question.choices))))
                    yield Example(
                        own, seconds, rows, question.answer, question.spans, question.kind
                    )


def _render(
    job: tuple[int, Split, float, float],
) -> tuple[NDArray[np.uint8], NDArray[np.float32], tuple[WorldQuestion, ...]]:
    seed, split, duration, fps = job
    clip = make_clip(seed, split, duration_seconds=duration)
    seconds = np.arange(int(clip.duration_seconds * fps)) / fps
    frames = np.stack([render_at(clip, float(at)) for at in seconds])
    return frames.transpose(0, 3, 1, 2), seconds.astype(np.float32), clip.questions


@torch.inference_mode()
def _encode(model: Model, pixels: Tensor, batch: int = 512) -> NDArray[np.float16]:
    parts = [
        F.normalize(model.tower(model.tower.normalise(part)).float(), dim=-1).half().cpu()
        for part in torch.split(pixels, batch)
    ]
    vectors: NDArray[np.float16] = torch.cat(parts).numpy()
    return vectors


def _collate(
    picked: Sequence[Example], device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Pad to the longest clip and to the most choices; a padded choice repeats a wrong one."""
    longest = max(len(example.frames) for example in picked)
    most = max(len(example.statements) for example in picked)
    dimension = picked[0].frames.shape[1]
    frames = np.zeros((len(picked), longest, dimension), np.float32)
    seconds = np.zeros((len(picked), longest), np.float32)
    shown = np.zeros((len(picked), longest), bool)
    inside = np.zeros((len(picked), longest), np.float32)
    texts = np.zeros((len(picked), most, dimension), np.float32)
    for row, example in enumerate(picked):
        count = len(example.frames)
        frames[row, :count], seconds[row, :count] = example.frames, example.seconds
        shown[row, :count] = True
        for begin, end in example.spans:
            within = (example.seconds >= begin) & (example.seconds < end)
            inside[row, :count][within] = 1
        wrong = (example.answer + 1) % len(example.statements)
        texts[row] = example.statements[wrong]
        texts[row, : len(example.statements)] = example.statements
    answers = np.array([example.answer for example in picked])
    arrays = (frames, seconds, shown, texts, answers, inside)
    return tuple(torch.from_numpy(array).to(device) for array in arrays)  # type: ignore[return-value]
