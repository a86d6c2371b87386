"""Several runs side by side on the same frames: one process each, one device."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

from engine.errors import ModelError
from engine.training.reusevit.config import ReuseTraining
from engine.training.reusevit.frames import StoredFrames, Window, WorldFrames
from engine.training.reusevit.pattern import pattern
from engine.training.reusevit.train import Trainer
from engine.training.reusevit.validate import Validation
from engine.vision.model import load_model

HELD_OUT_SPAN = 33  # frames: a full one and eight groups


@dataclass(frozen=True, slots=True)
class SweepFrames:
    """What all runs learn from, and what they are judged on."""

    learned: Tensor  # uint8 [W, F, 3, S, S]
    held_out: Tensor

    @classmethod
    def render(
        cls, learned: WorldFrames, held_out: WorldFrames, config: ReuseTraining, *, workers: int
    ) -> "SweepFrames":
        """Render one pass of each."""
        span = pattern(config.pattern).span
        return cls(learned.load(span, workers), held_out.load(HELD_OUT_SPAN, workers))


def train_side_by_side(
    model: str, configs: Mapping[str, ReuseTraining], frames: SweepFrames, out: Path
) -> dict[str, Validation]:
    """Train each configuration in the folder of its name below `out`.

    All of them share the device: training is bound by launches, so that a GPU has time for several.
    """
    context = get_context("spawn")
    results = context.Manager().dict()
    processes = [
        context.Process(target=_train, args=(name, model, config, frames, out / name, results))
        for name, config in configs.items()
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    missing = [name for name in configs if name not in results]
    if missing:
        raise ModelError(f"training broke off for {', '.join(missing)}")
    return {name: results[name] for name in configs}


def _train(
    name: str,
    model: str,
    config: ReuseTraining,
    frames: SweepFrames,
    out: Path,
    results: "dict[str, Validation]",
) -> None:
    logging.basicConfig(level=logging.INFO, format=f"%(relativeCreated)7d {name} %(message)s")
    torch.set_num_threads(1)
    loaded = load_model(model, dtype=torch.float32)
    source = StoredFrames(frames.learned.to(loaded.device), seed=config.seed)
    held_out = [Window(clip) for clip in frames.held_out.to(loaded.device)]
    results[name] = Trainer(loaded.tower, config, out, space=loaded.space).run(source, held_out)
