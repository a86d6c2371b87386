"""A run for each of several rates, by one process or by several that share each batch."""

from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch

from engine.errors import UsageError
from engine.training.crew import ALONE, Crew, run_together
from engine.training.reusevit.config import ReuseTraining
from engine.training.reusevit.frames import FrameSource
from engine.training.reusevit.train import Trainer
from engine.training.reusevit.validate import Validation, read_validation
from engine.vision.model import Model, load_model

HELD_OUT = 33  # frames of a validation window: a full one and eight groups
WINDOWS = 40  # of validation


@dataclass(frozen=True, slots=True)
class ReuseRun:
    """What is trained, on what; pickled for processes beside."""

    model: str
    device: str
    config: ReuseTraining
    targets: tuple[float, ...]
    out: Path
    source: FrameSource
    held_out: FrameSource
    held_out_epoch: int = 0
    start: Path | None = None

    def folder(self, target: float) -> Path:
        """Where a rate's run lies: `out` itself where there is no other."""
        return self.out if len(self.targets) == 1 else self.out / f"{target:g}"


def train_reuse(model: Model, run: ReuseRun, processes: int = 1) -> dict[str, Validation]:
    """Train for every rate, one after the other; return the best validation of each.

    Several processes load `model` anew, on a GPU each where there are GPUs.
    """
    Crew(0, processes).share(run.config.batch)
    if processes == 1:
        return _train_all(ALONE, model, run)
    kind = "cuda" if torch.cuda.is_available() and run.device != "cpu" else "cpu"
    if kind == "cuda" and run.device not in ("auto", "cuda"):
        raise UsageError(
            f"device {run.device} with {processes} processes; allowed: auto, cuda, cpu"
        )
    if kind == "cuda" and torch.cuda.device_count() < processes:
        raise UsageError(f"{processes} processes; allowed: {torch.cuda.device_count()}, a GPU each")
    run_together(_train, (run,), processes, kind)
    return {f"{each:g}": read_validation(run.folder(each)) for each in run.targets}


def _train(crew: Crew, run: ReuseRun) -> None:
    on_gpu = run.device != "cpu" and torch.cuda.is_available()
    device = f"cuda:{crew.rank}" if on_gpu else "cpu"
    _train_all(crew, load_model(run.model, device=device, dtype=torch.float32), run)


def _train_all(crew: Crew, model: Model, run: ReuseRun) -> dict[str, Validation]:
    windows = run.held_out.windows(HELD_OUT, run.held_out_epoch)
    held_out = list(islice(windows, WINDOWS)) if crew.leads else []
    found = {}
    for target in run.targets:
        config, folder = replace(run.config, target=target), run.folder(target)
        trainer = Trainer(
            model.tower, config, folder, space=model.space, start=run.start, crew=crew
        )
        found[f"{target:g}"] = trainer.run(run.source, held_out)
    return found
