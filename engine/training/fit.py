"""Train a small network for so many steps, with its log."""

import csv
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)
EVERY = 50  # steps between two lines of the log
ALIKE = 4  # batches drawn together and parted by length


@dataclass(frozen=True, slots=True)
class FitPlan:
    """How long and how fast."""

    steps: int
    learning_rate: float
    weight_decay: float = 0.05
    seed: int = 1
    warmup: float = 0.1  # share of the steps in which the rate rises


def draw_alike(lengths: Tensor, batch: int, random: torch.Generator) -> Tensor:
    """Draw rows of like length, so that little is padded; each is as likely as any other.

    Args:
        lengths: of every row, `[N]`.
        batch: how many are drawn, with replacement.
        random: what draws.
    """
    picked = torch.randint(len(lengths), (ALIKE * batch,), generator=random)
    part = int(torch.randint(ALIKE, (1,), generator=random))
    order = lengths[picked].argsort(stable=True)
    return picked[order[part * batch : (part + 1) * batch]]


def fit(
    network: nn.Module,
    losses: Callable[[torch.Generator], Mapping[str, Tensor]],
    fitting: FitPlan,
    path: Path,
) -> None:
    """Lower the first of the losses; `path` gets all of them as CSV.

    Args:
        network: whose parameters are moved, one cycle of the learning rate.
        losses: of a batch that it draws by the generator.
        fitting: how long and how fast.
        path: the log, written anew.
    """
    torch.manual_seed(fitting.seed)
    random = torch.Generator().manual_seed(fitting.seed)
    optimiser = torch.optim.AdamW(
        network.parameters(), fitting.learning_rate, weight_decay=fitting.weight_decay
    )
    warmup = fitting.warmup * (1 + 1e-9)  # torch divides by zero where it takes just one step
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, fitting.learning_rate, fitting.steps, pct_start=warmup
    )
    began = time.monotonic()
    path.parent.mkdir(parents=True, exist_ok=True)
    network.train()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        for step in range(fitting.steps):
            found = losses(random)
            optimiser.zero_grad(set_to_none=True)
            next(iter(found.values())).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            if step == 0:
                writer.writerow(["step", *found, "seconds"])
            if step % EVERY == 0 or step + 1 == fitting.steps:
                values = {name: round(value.item(), 5) for name, value in found.items()}
                writer.writerow([step, *values.values(), round(time.monotonic() - began, 1)])
                file.flush()
                log.info("step %d: %s", step, values)
    network.eval()
