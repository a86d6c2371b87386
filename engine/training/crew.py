"""Processes that train one network together, each on its share of every batch."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import ProcessRaisedException, start_processes
from torch.nn.parallel import DistributedDataParallel

from engine.errors import ModelError, UsageError

PATIENCE = timedelta(minutes=30)  # that one process waits for the others, as while one validates
BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}


@dataclass(frozen=True, slots=True)
class Crew:
    """One of the processes, by its rank; what it says is said in all of them at the same time."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether it is the one that validates and writes."""
        return self.rank == 0

    def share(self, batch: int) -> int:
        """How many of a batch are its own."""
        if batch % self.size:
            raise UsageError(
                f"batch {batch} cannot be shared by {self.size} processes; allowed: multiples of"
                f" {self.size}"
            )
        return batch // self.size

    def all(self, said: bool) -> bool:
        """Whether all say so."""
        if self.size == 1:
            return said
        value = torch.tensor(int(said))
        distributed.all_reduce(value, distributed.ReduceOp.MIN)
        return bool(value)

    def told(self, value: float) -> float:
        """What the leader says."""
        if self.size == 1:
            return value
        said = torch.tensor(value, dtype=torch.float64)
        distributed.broadcast(said, 0)
        return float(said)

    def mean(self, value: Tensor) -> Tensor:
        """Mean of all, its gradient that of one's own: averaged gradients are then the mean's."""
        if self.size == 1:
            return value
        total = value.detach().clone()
        distributed.all_reduce(total)
        return value + (total / self.size - value.detach())

    def gathered(self, value: Tensor) -> list[Tensor]:
        """Tensors of all, by rank."""
        if self.size == 1:
            return [value]
        found = [torch.empty_like(value) for _ in range(self.size)]
        distributed.all_gather(found, value)
        return found

    def join(self, network: nn.Module) -> nn.Module:
        """Return a network whose gradients are the mean of all; the leader's weights are taken."""
        if self.size == 1:
            return network
        for parameter in network.parameters():
            if not parameter.numel():  # a part that was left out: nothing would ever come of it
                parameter.requires_grad_(False)
        return DistributedDataParallel(network)


ALONE = Crew()


def run_together(
    work: Callable[..., Any], arguments: tuple[Any, ...], processes: int, device: str
) -> None:
    """Run `work(crew, *arguments)` in so many processes that can talk to each other.

    An error in one ends all, and is raised here.
    """
    with TemporaryDirectory() as folder:
        given = (processes, BACKENDS[device], str(Path(folder) / "meet"), work, arguments)
        try:
            start_processes(_work, given, processes, join=True, start_method="spawn")
        except ProcessRaisedException as error:
            last = str(error).strip().splitlines()[-1]
            raise ModelError(f"process {error.error_index} of {processes}: {last}") from error


def _work(
    rank: int,
    size: int,
    backend: str,
    meet: str,
    work: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    if "cuda" in backend:
        torch.cuda.set_device(rank)
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // size))
    distributed.init_process_group(
        backend, init_method=f"file://{meet}", rank=rank, world_size=size, timeout=PATIENCE
    )
    try:
        work(Crew(rank, size), *arguments)
    finally:
        distributed.destroy_process_group()
