"""The training loop: soft gates against the frozen tower, validated as served, resumable."""

import contextlib
import csv
import dataclasses
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW

from engine.errors import ModelError
from engine.training.crew import ALONE, Crew
from engine.training.reusevit.calibrate import calibrate, shift
from engine.training.reusevit.clips import ClipBatch, batches
from engine.training.reusevit.config import ReuseTraining
from engine.training.reusevit.frames import EachOf, FrameSource, Window
from engine.training.reusevit.graph import Recorded
from engine.training.reusevit.loss import ReuseLosses, reuse_loss, teach
from engine.training.reusevit.pattern import pattern
from engine.training.reusevit.soft import encode_clips
from engine.training.reusevit.validate import (
    REPORT,
    Validation,
    layer_drift,
    read_validation,
    validate,
)
from engine.vision.backbone.space import Space
from engine.vision.backbone.tower import VisionTower
from engine.vision.reusevit.file import Card, load_modules, save_modules
from engine.vision.reusevit.gating import soft, straight
from engine.vision.reusevit.modules import ReuseModules
from engine.vision.streaming.schedule import Schedule

try:
    from torch.utils.tensorboard import SummaryWriter
except ImportError:
    SummaryWriter = None  # type: ignore[assignment, misc]

logger = logging.getLogger(__name__)
COLUMNS = ("step", "epoch", "loss", "similarity", "hidden", "reuse", "rate", "seconds")
EVERY = 10  # steps between two lines of the log


class Trainer:
    """One run: modules, optimiser and where it stands; everything lies in the folder `out`."""

    def __init__(
        self,
        tower: VisionTower,
        config: ReuseTraining,
        out: Path,
        *,
        space: Space | None = None,
        start: Path | None = None,
        crew: Crew = ALONE,
    ) -> None:
        """Begin a run, or take up the one whose state lies in `out`.

        With `start` it begins from those modules, moved to the target's rate. A crew shares each
        batch, and does what one process does with all of it; its leader writes.
        """
        torch.manual_seed(config.seed)
        self.tower = tower.requires_grad_(False).eval()
        self.config = config
        self.out = out
        self.space = space
        self.start = start
        self.pattern = pattern(config.pattern)
        self.crew = crew
        self.batch = crew.share(config.batch)
        self.modules = ReuseModules(tower.config, config.modules).to(tower.device)
        self.learner: nn.Module = Learner(self.modules, self._losses)
        on_gpu = tower.device.type == "cuda"
        groups = parameter_groups(self.modules, config)
        self.rates = [float(group["lr"]) for group in groups]
        for group in groups:  # a recorded step reads its learning rates from the device
            group["lr"] = torch.tensor(group["lr"], device=tower.device)
        self.optimizer = AdamW(groups, weight_decay=0.0, capturable=on_gpu)
        self.noise = torch.tensor(config.noise[0], device=tower.device)
        alone = crew.size == 1  # recorded steps know nothing of other processes
        self.take_step = Recorded(self.train_step) if on_gpu and alone else self.train_step
        self.epoch = self.step_in_epoch = self.step = self.stale = 0
        self.spent = 0.0  # seconds trained by earlier processes
        self.began = time.perf_counter()
        self.best = float("inf")
        self.figures: dict[str, Any] = {}
        self.out.mkdir(parents=True, exist_ok=True)
        tells = SummaryWriter is not None and crew.leads
        self.board = SummaryWriter(str(out)) if tells else None
        if not crew.leads:
            torch.manual_seed(config.seed + crew.rank)

    @property
    def checkpoint(self) -> Path:
        """The best modules so far."""
        return self.out / f"reusevit-{self.config.target:g}.safetensors"

    @property
    def state_file(self) -> Path:
        """What a broken-off run resumes from."""
        return self.out / "state.pt"

    def run(self, source: FrameSource, held_out: Sequence[Window]) -> Validation:
        """Train from where the run stands to its last epoch; return the best validation."""
        if self.state_file.exists():
            self._resume()
        elif self.crew.leads and (self.start or self.config.init == "calibrated"):
            self._set_out(source)
            self._judge(held_out)
        self.learner = self.crew.join(self.learner)
        own = source.shared(EachOf(self.crew.rank, self.crew.size))
        while self.progress < 1 and self.stale < self.config.patience:
            self._train_epoch(own)
            self.epoch, self.step_in_epoch = self.epoch + 1, 0
            if self.progress == 1 or self.epoch % self.config.judge_every == 0:
                if self.crew.leads:
                    self._judge(held_out)
                self.stale = int(self.crew.told(self.stale))
            self._save_state()
        if self.board:
            self.board.close()
        return read_validation(self.out)

    @property
    def progress(self) -> float:
        """How far the run is, from 0 to 1: by its epochs or its time, whichever ends it first.

        A crew goes by its leader's clock.
        """
        config = self.config
        done = self.epoch / config.epochs if config.epochs else 1.0
        if config.seconds:
            spent = self.spent + time.perf_counter() - self.began
            done = max(done, self.crew.told(spent / config.seconds))
        return min(done, 1.0)

    def train_step(self, batch: ClipBatch) -> ReuseLosses:
        """Take one step on one batch."""
        self.modules.train()
        self.optimizer.zero_grad(set_to_none=True)
        with self._precision():
            losses: ReuseLosses = self.learner(batch)
        losses.total.backward()
        clip_grad_norm_(self.modules.parameters(), self.config.clip_norm)
        self.optimizer.step()
        return losses

    def _losses(self, batch: ClipBatch) -> ReuseLosses:
        values = self.tower.normalise(batch.pixels.flatten(0, 1))
        values = values.unflatten(0, batch.pixels.shape[:2])
        cues: Tensor | None = None
        if batch.maps is not None:
            cues = self.modules.cue(batch.maps.flatten(0, 1)).unflatten(0, batch.maps.shape[:2])
        decide = (soft if self.config.gates == "soft" else straight)(self.noise)
        result = encode_clips(
            self.tower, self.modules, values, cues, self.pattern, lambda _gate, _slot: decide
        )
        scored = self.pattern.num_scored
        teacher = teach(self.tower, values[:, -scored:])
        return reuse_loss(result, teacher, self.config, scored, self.crew)

    def _set_out(self, source: FrameSource) -> None:
        """Bring the modules to the target's rate on the first batch that there is."""
        found = next(self._batches(source, self.config.batch), None)
        if found is None:
            raise ModelError(f"the source has no {self.config.batch} clips to make a batch of")
        reach = calibrate
        if self.start:
            own = self.space.weight_hash if self.space else ""
            known = load_modules(self.start, self.tower.config, weight_hash=own).modules
            self.modules.load_state_dict(known.state_dict())
            reach = shift
        reach(self.tower, self.modules, found, self.pattern, self.config.target)

    def _batches(self, source: FrameSource, batch: int) -> Iterator[ClipBatch]:
        """What is left of this epoch, so many clips at a time."""
        return batches(
            source,
            self.pattern,
            self.modules,
            epoch=self.epoch,
            batch=batch,
            skip=self.step_in_epoch,
            patch=self.tower.config.patch,
            device=self.tower.device,
        )

    def _train_epoch(self, source: FrameSource) -> None:
        """Train on one pass over the source, or what the time leaves of it."""
        started = time.perf_counter()
        self.modules.train()
        waiting = self._batches(source, self.batch)
        while True:
            batch = next(waiting, None)
            if not self.crew.all(batch is not None) or batch is None:
                break  # what one has left over and another lacks is dropped
            self._pace()
            losses = self.take_step(batch)
            self.step, self.step_in_epoch = self.step + 1, self.step_in_epoch + 1
            if self.step % EVERY == 0:
                self._log(losses, time.perf_counter() - started)
            if self.step % self.config.save_every == 0:
                self._save_state()
            if self.progress == 1:
                break

    def _pace(self) -> None:
        """Set noise and learning rates for where the run stands."""
        config, progress = self.config, self.progress
        first, last = config.noise
        self.noise.fill_(first + (last - first) * progress)
        factor = config.gamma**self.epoch
        if config.anneal:
            factor *= (1 + math.cos(math.pi * progress)) / 2
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"].fill_(rate * factor)

    def _judge(self, held_out: Sequence[Window]) -> None:
        """Validate with hard gates; keep the modules if they are the best so far."""
        schedule = Schedule(self.config.refresh)
        found = validate(self.tower, self.modules, held_out, schedule=schedule)
        loss = found.loss(self.config.target, self.config.weight_reuse)
        logger.info(
            "epoch %d: drift %.4f (p95 %.4f), reuse %.3f, %.2f x fewer multiply-accumulates",
            *(self.epoch, found.drift, found.drift_p95, found.reuse, found.reduction),
        )
        if self.board:
            for name in ("drift", "drift_p95", "reuse", "reduction"):
                self.board.add_scalar(f"validation/{name}", getattr(found, name), self.step)
        self.stale = 0 if loss < self.best else self.stale + 1
        if loss < self.best:
            self.best = loss
            drifts = layer_drift(self.tower, self.modules, held_out[:16], self.pattern)
            self.figures = {
                "validation": dataclasses.asdict(found),
                "layer_drift": drifts,
                "epoch": self.epoch,
                "steps": self.step,
            }
            save_modules(self.checkpoint, self.modules, self._card(), dtype=torch.float16)
            report = {"config": dataclasses.asdict(self.config), **self.figures}
            (self.out / REPORT).write_text(json.dumps(report, indent=2) + "\n")

    def _card(self) -> Card:
        return Card(
            config=self.config.modules,
            backbone=self.space.model if self.space else "",
            weight_hash=self.space.weight_hash if self.space else "",
            target=self.config.target,
            refresh=self.config.refresh,
            figures=self.figures,
        )

    def _log(self, losses: ReuseLosses, seconds: float) -> None:
        names = COLUMNS[2:-1]
        numbers = torch.stack([losses.total, *(getattr(losses, name) for name in names[1:])])
        values = [round(value, 6) for value in self.crew.mean(numbers.detach()).tolist()]
        if not self.crew.leads:
            return
        path = self.out / "log.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(COLUMNS)
            writer.writerow([self.step, self.epoch, *values, round(seconds, 1)])
        if self.board:
            for name, value in zip(names, values, strict=True):
                self.board.add_scalar(f"training/{name}", value, self.step)

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        if self.tower.device.type == "cuda":
            return torch.autocast("cuda", dtype=torch.bfloat16, cache_enabled=False)
        return contextlib.nullcontext()

    def _save_state(self) -> None:
        """Write all that a resumed run needs, under a temporary name first."""
        on_gpu = self.tower.device.type == "cuda"
        random = self.crew.gathered(torch.get_rng_state())
        drawn = self.crew.gathered(torch.cuda.get_rng_state(self.tower.device)) if on_gpu else []
        if not self.crew.leads:
            return
        state = {
            "config": json.dumps(dataclasses.asdict(self.config), sort_keys=True),
            "parts": self.modules.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "place": [self.epoch, self.step_in_epoch, self.step, self.stale],
            "spent": self.spent + time.perf_counter() - self.began,
            "best": self.best,
            "figures": json.dumps(self.figures),
            "random": random,
            "random_cuda": drawn,
        }
        temporary = self.state_file.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(self.state_file)

    def _resume(self) -> None:
        state = torch.load(self.state_file, map_location="cpu", weights_only=True)
        if state["config"] != json.dumps(dataclasses.asdict(self.config), sort_keys=True):
            raise ModelError(f"{self.state_file}: a run with other settings; choose another folder")
        if len(state["random"]) != self.crew.size:
            raise ModelError(
                f"{self.state_file}: a run of {len(state['random'])} processes, not of"
                f" {self.crew.size}; go on with as many or choose another folder"
            )
        self.modules.load_state_dict(state["parts"])
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            group["lr"] = group["lr"].to(self.tower.device)
        self.epoch, self.step_in_epoch, self.step, self.stale = state["place"]
        self.best, self.spent = state["best"], state["spent"]
        self.figures = json.loads(state["figures"])
        torch.set_rng_state(state["random"][self.crew.rank])
        if state["random_cuda"]:
            torch.cuda.set_rng_state(state["random_cuda"][self.crew.rank], self.tower.device)


class Learner(nn.Module):
    """The modules with their loss as one network's output, for processes that train together."""

    def __init__(self, parts: ReuseModules, losses: Callable[[ClipBatch], ReuseLosses]) -> None:
        super().__init__()
        self.parts = parts
        self._losses = losses

    def forward(self, batch: ClipBatch) -> ReuseLosses:
        """Return the losses of a batch."""
        return self._losses(batch)


def parameter_groups(modules: ReuseModules, config: ReuseTraining) -> list[dict[str, Any]]:
    """Three groups with a learning rate each: codec net, restorations, decisions."""
    named = list(modules.named_parameters())
    groups = (
        ("codec.", config.lr_codec),
        (".restoration.", config.lr_restoration),
        (".decision.", config.lr_decision),
    )
    found = [
        {"params": [p for name, p in named if key in f".{name}"], "lr": rate}
        for key, rate in groups
    ]
    return [group for group in found if group["params"]]
