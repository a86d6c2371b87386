"""Ray, where it is installed and a cluster is there."""

import logging
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from engine.closing import Closing
from engine.errors import ExecutionError, UsageError

Kind = Literal["decode", "encode"]
ALLOWED = "allowed: HOST:PORT of a cluster's head, or auto for the one on this machine"
_CONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster, or a part of one."""

    node_id: str
    name: str
    cpus: float
    gpus: int


@dataclass(frozen=True, slots=True)
class Seat:
    """Room for one process on a node."""

    node: Node
    kind: Kind
    number: int
    cpus: float
    gpus: int = 0

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.node.name}/{self.kind}-{self.number}"


class Ray(Closing):
    """The few calls of Ray that an ingest makes."""

    def __init__(self, address: str) -> None:
        check_address(address)
        self._ray = load_ray()
        self._own = not self._ray.is_initialized()
        if self._own:
            self._connect(address)
        failures = import_module("ray.exceptions")
        self.errors: tuple[type[Exception], ...] = (failures.RayError,)
        self._of_process: tuple[type[Exception], ...] = (failures.RayActorError,)
        self._of_object = (failures.ObjectLostError, failures.ObjectFreedError)
        self._of_call: type[Exception] = failures.RayTaskError
        self._pinned = import_module(
            "ray.util.scheduling_strategies"
        ).NodeAffinitySchedulingStrategy

    def _connect(self, address: str) -> None:
        if address != "auto":
            _check_reached(address)
        try:
            self._ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            told = reason_of(error)
            raise ExecutionError(f"no Ray cluster at {address}: {told}; {ALLOWED}") from error

    def close(self) -> None:
        """Leave the cluster, unless somebody else had joined it before."""
        if self._own:
            self._ray.shutdown()

    def nodes(self) -> list[Node]:
        """Return the nodes that are alive."""
        found = []
        for each in self._ray.nodes():
            if each["Alive"]:
                has, node_id = each["Resources"], each["NodeID"]
                name = f"{each['NodeManagerHostname']}:{node_id[:6]}"
                found.append(Node(node_id, name, has.get("CPU", 0.0), int(has.get("GPU", 0))))
        return found

    def start(self, kind: type, given: tuple[Any, ...], threads: int, seat: Seat) -> Any:
        """Start a process of a class at a seat; it is not started again when it dies."""
        remote = self._ray.remote(kind).options(
            num_cpus=seat.cpus,
            num_gpus=seat.gpus,
            max_concurrency=threads,
            max_restarts=0,
            scheduling_strategy=self._pinned(seat.node.node_id, soft=False),
        )
        return remote.remote(*given)

    def kill(self, handle: Any) -> None:
        """End a process."""
        with suppress(*self.errors, ValueError):
            self._ray.kill(handle)

    def wait(self, refs: list[Any], count: int, seconds: float) -> tuple[list[Any], list[Any]]:
        """Wait for some of these results; return those that are there, and the rest."""
        ready, rest = self._ray.wait(refs, num_returns=count, timeout=seconds, fetch_local=False)
        return ready, rest

    def get(self, ref: Any) -> Any:
        """Return a result, or raise what kept it from being made."""
        return self._ray.get(ref)

    def lost_object(self, error: Exception) -> bool:
        """Whether what a call was given is gone, and not the process that was called."""
        cause = getattr(error, "cause", error)
        return isinstance(error, self._of_object) or isinstance(cause, self._of_object)

    def own_error(self, error: Exception) -> Exception | None:
        """Return what our code raised in the process, or None where Ray lost it."""
        if not isinstance(error, self._of_call):
            return None
        cause = getattr(error, "cause", None)
        return None if isinstance(cause, self.errors) else (cause or error)


def load_ray() -> Any:
    """Return the module, or UsageError where it is not installed."""
    try:
        return import_module("ray")
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        said = "--ray needs Ray, which is not installed: pip install 'dejavu-engine[ray]'"
        raise UsageError(said) from error


def check_address(address: str) -> None:
    """Raise UsageError unless a cluster is named: nothing is started on this machine instead."""
    if address == "auto" or re.fullmatch(r"[\w.\-]+:\d+|\[[\da-fA-F:]+\]:\d+", address):
        return
    raise UsageError(f"ray {address!r} names no cluster; {ALLOWED}")


def reason_of(error: BaseException) -> str:
    """Return the last line of what an error says: Ray puts a whole trace before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _check_reached(address: str) -> None:
    """Raise ExecutionError where nothing listens; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS):
            return
    except OSError as error:
        told = error.strerror or str(error)
        raise ExecutionError(f"no Ray cluster at {address}: {told}; {ALLOWED}") from error
