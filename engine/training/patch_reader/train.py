"""Train a network on the made-up world, over a frozen model's patches and words."""

import csv
import json
import os
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.answering.choose import statements
from engine.answering.patch_network import PatchNetwork, PatchNetworkConfig
from engine.answering.patch_reader import PatchReader, load_patch_reader, save_patch_network, spoken
from engine.training.augment import spoil
from engine.training.patch_reader.data import CONTEXT, FPS, FRAMES, SETS, PatchReaderRecipe
from engine.training.ring import Ring
from engine.training.schedule import warm_cosine
from engine.vision.model import Model
from engine.world import Split, make_pool
from engine.world.phrases import PHRASES
from engine.world.render import instants, render_sampled

STAGED = 1024  # rendered clips that wait to be seen
FILE = "patch_reader.safetensors"
AT_ONCE = 3  # chunks seen before a step, lest a slow tower keeps the network from learning
SCORED: dict[Split, int] = {"val": 300, "test": 1000}  # clips of each pool
COLUMNS = ("step", "seconds", "rendered", "rate", "choice", "relevance", "accuracy")


@dataclass(frozen=True, slots=True)
class PatchReaderTraining:
    """One run; the schedule follows the clock."""

    out: str
    seconds: float = 400.0
    seed: int = 0
    start: str | None = None  # a network to go on from
    clips: int = 64  # of one step
    sets: int = 4  # of each clip in a step
    kept: int = 24576  # clips at most whose tokens are kept on the device
    workers: int = 8
    chunk: int = 16  # clips that a worker hands over at once, and that the tower sees at once
    rate: float = 1e-3
    warmup: float = 0.03  # share of the run
    decay: float = 0.05
    relevance: float = 0.5  # weight of that part of the loss
    scored: int = 1000  # clips of a pool at most, when the result is scored
    depth: int = 9
    width: int = 192
    heads: int = 6
    blocks: int = 4


def train_patch_reader(model: Model, config: PatchReaderTraining) -> dict[str, Any]:
    """Train, save the network, the log and the scores under `out`, and return the scores."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    out, tower = Path(config.out), model.tower
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    network = start_network(model, config).to(model.device)
    recipe = PatchReaderRecipe(model.tokenizer.backend_tokenizer.to_str(), tower.config.image_size)
    ring = Ring(STAGED, recipe, model.device)
    ring.start(config.workers, config.chunk, (config.seed + 101) << 32)
    try:
        steps = _run(model, network, config, RenderedTokens(model, ring, config), out)
    finally:
        ring.close()
    save_patch_network(network, model.space.weight_hash, out / FILE)
    scores = {
        split: score(model, network, split, min(clips, config.scored), config.workers)
        for split, clips in SCORED.items()
    }
    result = {
        "config": asdict(config), "steps": steps, "clips rendered": ring.rendered, "scores": scores
    }  # fmt: skip
    (out / "training.json").write_text(json.dumps(result, indent=2) + "\n")
    return result


def start_network(model: Model, config: PatchReaderTraining) -> PatchNetwork:
    """Make a network, or take that of `start`."""
    if config.start is not None:
        return load_patch_reader(Path(config.start), model).network.requires_grad_(True).train()
    shape = PatchNetworkConfig(config.depth, config.width, config.heads, config.blocks)
    return PatchNetwork(shape, model.tower.config, model.text.config)


class RenderedTokens:
    """The tokens of the clips that were rendered last, with their times and statements."""

    def __init__(self, model: Model, ring: Ring, config: PatchReaderTraining) -> None:
        self.ring = ring
        self._model, self._config = model, config
        self._noise = torch.Generator(model.device).manual_seed(config.seed)
        kept = _room(model, config)
        shape = (kept, FRAMES, model.tower.config.tokens, model.tower.config.width)
        self._tokens = torch.empty(shape, dtype=torch.bfloat16, device=model.device)
        self._others = [
            torch.from_numpy(np.empty((0, *shape), dtype)).new_empty(
                (kept, *shape), device=model.device
            )
            for shape, dtype in list(ring.recipe.shapes.values())[1:]
        ]
        self.done = self._read = 0  # clips seen, and clips of the ring that were read or left out
        cuda = model.device.type == "cuda"
        self._look = torch.compile(self._tokens_of, dynamic=False) if cuda else self._tokens_of

    def follow(self) -> None:
        """See a few chunks of what has been rendered since the last time."""
        size, chunk = self.ring.size, self._config.chunk
        rendered = self.ring.rendered
        # what is being overwritten is left out: two chunks of each worker may be on their way
        self._read = max(self._read, rendered - size + 2 * chunk * (1 + self._config.workers))
        for _ in range(min(AT_ONCE, (rendered - self._read) // chunk)):
            rows = torch.arange(self._read, self._read + chunk, device=self._model.device) % size
            pixels, *others = self.ring.take(rows)
            at = self.done % len(self._tokens)
            self._tokens[at : at + chunk] = self._see(pixels)
            for kept, part in zip(self._others, others, strict=True):
                kept[at : at + chunk] = part
            self.done += chunk
            self._read += chunk

    @torch.no_grad()
    def _see(self, pixels: Tensor) -> Tensor:
        config = self._model.tower.config
        values = spoil(pixels.flatten(0, 1), config, self._noise)
        tokens = self._look(values.to(self._model.tower.dtype))
        return tokens.view(len(pixels), FRAMES, config.tokens, -1)

    def _tokens_of(self, values: Tensor) -> Tensor:
        return self._model.tower.look(values, self._config.depth)

    def draw(self, shuffle: torch.Generator) -> tuple[Tensor, ...]:
        """Draw clips for a step, each with some of its sets of statements."""
        config = self._config
        count = min(self.done, len(self._tokens))
        device = self._tokens.device
        rows = torch.randperm(count, generator=shuffle)[: config.clips]
        sets = torch.rand(len(rows), SETS, generator=shuffle).argsort(1)[:, : config.sets]
        rows, sets = rows.to(device), sets.to(device)
        seconds, shown, ids, inside = (kept[rows] for kept in self._others)
        each = torch.arange(len(rows), device=device)[:, None]
        return self._tokens[rows], seconds, shown, ids[each, sets].long(), inside[each, sets]


def _room(model: Model, config: PatchReaderTraining) -> int:
    """Clips in whole chunks whose tokens fit half of the GPU's memory, or a gigabyte of a CPU's."""
    shape, device = model.tower.config, model.device
    cuda = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] // 2 if cuda else 1 << 30
    fitting = min(config.kept, free // (2 * FRAMES * shape.tokens * shape.width))
    return max(fitting // config.chunk, 1) * config.chunk


def _run(
    model: Model,
    network: PatchNetwork,
    config: PatchReaderTraining,
    seen: RenderedTokens,
    out: Path,
) -> int:
    """Train until the time is up; return the number of steps."""
    device = model.device
    cuda = device.type == "cuda"
    optimizer = torch.optim.AdamW(
        network.parameters(),
        lr=config.rate,
        betas=(0.9, 0.98),
        weight_decay=config.decay,
        fused=cuda,
    )
    if cuda:
        for block in network.blocks:
            block.compile(dynamic=False)
    shuffle = torch.Generator().manual_seed(config.seed)
    while seen.done < 2 * config.clips:
        seen.ring.fill(seen.done + config.chunk)
        seen.follow()
    began = time.monotonic()
    step = 0
    with (out / "log.csv").open("w", newline="") as file:
        log = csv.writer(file)
        log.writerow(COLUMNS)
        while (done := (time.monotonic() - began) / config.seconds) < 1:
            seen.follow()
            rate = warm_cosine(config.rate, config.warmup, done)
            for group in optimizer.param_groups:
                group["lr"] = rate
            choice, relevance, right = losses(model, network, *seen.draw(shuffle))
            optimizer.zero_grad(set_to_none=True)
            (choice + config.relevance * relevance).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            step += 1
            if step % 50 == 0:
                values = [round(float(part.detach()), 4) for part in (choice, relevance, right)]
                passed = round(time.monotonic() - began, 1)
                log.writerow([step, passed, seen.ring.rendered, f"{rate:.2e}", *values])
                file.flush()
            if step % 1000 == 0:
                save_patch_network(network, model.space.weight_hash, out / FILE)
    return step


def losses(
    model: Model,
    network: PatchNetwork,
    tokens: Tensor,
    seconds: Tensor,
    shown: Tensor,
    ids: Tensor,
    inside: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy of choices, of the truths' relevance over time, and how often it is right.

    Args:
        model: whose text tower reads the statements.
        network: that is trained.
        tokens: `[B, F, N, D]`.
        seconds: `[B, F]`.
        shown: `[B, F]`.
        ids: tokens of sets of statements, the true one first, `[B, Q, C, T]`.
        inside: which frames show that the truth is true, `[B, Q, F]`.
    """
    clips, sets = ids.shape[:2]
    with torch.no_grad():
        words = model.text.read(ids.flatten(0, 2)).view(clips, sets * PHRASES, CONTEXT, -1)
    said = spoken(ids, model.text.config.end_token).flatten(1, 2)
    with torch.autocast(tokens.device.type, torch.bfloat16):
        scores, relevance = network(tokens, seconds, shown, words, said)
    scores = scores.float().view(clips * sets, PHRASES)
    target = torch.zeros(len(scores), dtype=torch.long, device=scores.device)
    own = relevance.float().view(clips, sets, PHRASES, -1)[:, :, 0]
    each = F.binary_cross_entropy_with_logits(own, inside.float(), reduction="none")
    weight = shown[:, None].expand_as(each)
    right = (scores.argmax(1) == 0).float().mean()
    return F.cross_entropy(scores, target), (each * weight).sum() / weight.sum(), right


@torch.inference_mode()
def score(
    model: Model, network: PatchNetwork, split: Split, clips: int, workers: int
) -> dict[str, float]:
    """Accuracy in percent on a pool's clips, all frames at two a second; overall and by kind."""
    plain = (
        PatchNetwork(network.config, model.tower.config, model.text.config).to(model.device).eval()
    )
    plain.load_state_dict(network.state_dict())
    patch_reader = PatchReader(model, plain)
    right: dict[str, list[bool]] = defaultdict(list)
    pool = list(make_pool(split, clips, 7))
    render = partial(render_sampled, fps=FPS, size=model.tower.config.image_size)
    with get_context("spawn").Pool(workers) as processes:
        for clip, pixels in zip(pool, processes.imap(render, pool, chunksize=4), strict=True):
            tokens = patch_reader.see(torch.from_numpy(pixels))
            for question in clip.questions:
                told = statements(question.text, question.choices)
                chosen = patch_reader.judge(tokens, instants(clip, FPS), told)
                right[question.kind].append(chosen.choice == question.answer)
    hits = [hit for kind in right.values() for hit in kind]
    kinds = {kind: 100 * fmean(values) for kind, values in sorted(right.items())}
    return {"all": 100 * fmean(hits), **kinds}
