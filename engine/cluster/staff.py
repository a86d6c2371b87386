"""The processes of a cluster: started on every node, let in if they fit, replaced when they die."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.cluster.connect import Node, Ray, Seat, reason_of
from engine.cluster.decoding import DecodeProcess, Hello
from engine.cluster.encoding import EncodeProcess, room_for
from engine.cluster.passport import Passport, misfit
from engine.errors import ExecutionError
from engine.ingesting.encode import streams_on
from engine.ingesting.pipeline import DeviceJob
from engine.ingesting.prepare import Preparation
from engine.ingesting.report import NodeReport

logger = logging.getLogger(__name__)
LOOK_SECONDS = 1.0  # between two looks at which nodes there are
MOST_FAILURES = 3  # of a seat at the start, in a row, before the node is said not to fit
LONGEST_PAUSE_SECONDS = 30.0


def seats_on(node: Node, *, on_gpus: bool) -> list[Seat]:
    """Return the processes that a node has room for.

    With GPUs in the cluster each of them has an encoder and each processor that is left a decoder.
    Without, an encoder has three quarters of a node's processors, or of the only one a half.
    """
    if on_gpus:
        decoders = max(int(node.cpus) - node.gpus, 0)
        encode = [Seat(node, "encode", at, 1.0, 1) for at in range(node.gpus)]
        return encode + [Seat(node, "decode", at, 1.0) for at in range(decoders)]
    if node.cpus < 1:
        return []
    decoders = max(1, int(node.cpus) // 4)
    share = min(1.0, node.cpus / 2)
    decode = [Seat(node, "decode", at, share) for at in range(decoders)]
    return [Seat(node, "encode", 0, node.cpus - share * decoders), *decode]


@dataclass(slots=True, eq=False)
class Member:
    """A process at its seat; `joined` once it fits and works."""

    seat: Seat
    name: str  # of this process alone, not of those before it
    handle: Any
    asked: float
    joined: float | None = None
    room: int = 0


@dataclass(slots=True)
class _Tries:
    """How often a seat has lost its process in a row, and when it is tried again."""

    failures: int = 0
    fruitless: int = 0  # processes that have died without having done anything
    at: float = 0.0


@dataclass(slots=True)
class Staff:
    """All processes that work for one driver."""

    ray: Ray
    job: DeviceJob
    preparation: Preparation
    folders: Sequence[Path]
    mark: str
    nodes: dict[str, NodeReport] = field(default_factory=dict)
    _members: dict[Seat, Member] = field(default_factory=dict)
    _hellos: dict[Any, Member] = field(default_factory=dict)
    _tries: dict[Seat, _Tries] = field(default_factory=dict)
    _first: set[str] = field(default_factory=set)  # nodes that were there at the start
    _looked: float = float("-inf")
    _started: int = 0

    def tend(self) -> Iterator[Member]:
        """Start what is missing; yield the members that have joined since."""
        now = time.monotonic()
        if now - self._looked > LOOK_SECONDS:
            self._looked = now
            self._staff(now)
        if self._hellos:
            ready, _ = self.ray.wait(list(self._hellos), len(self._hellos), 0)
            for ref in ready:
                member = self._hellos.pop(ref)
                if self._let_in(member, ref):
                    yield member

    def _staff(self, now: float) -> None:
        nodes = self.ray.nodes()
        self._first = self._first or {node.node_id for node in nodes}
        on_gpus = any(node.gpus for node in nodes)
        for node in nodes:
            report = self.nodes.setdefault(node.name, NodeReport(node.name))
            for seat in seats_on(node, on_gpus=on_gpus):
                tries = self._tries.setdefault(seat, _Tries())
                if seat not in self._members and tries.at <= now and report.reason is None:
                    self._start(seat, tries.fruitless)

    def _start(self, seat: Seat, fruitless: int) -> None:
        self._started += 1
        name = f"{seat.name}#{self._started}"
        kind: type = DecodeProcess
        threads = 1
        given: tuple[Any, ...] = (self.preparation, self.job.options.stall_seconds)
        if seat.kind == "encode":
            device = "cuda" if seat.gpus else "cpu"
            kind, given = EncodeProcess, (self.job, device, fruitless // 2)
            threads = room_for(streams_on(device, self.job.options)) + 1
        handle = self.ray.start(kind, given, threads, seat)
        member = Member(seat, name, handle, time.time())
        self._members[seat] = member
        self._hellos[handle.hello.remote(list(self.folders), self.mark)] = member

    def _let_in(self, member: Member, ref: Any) -> bool:
        """Take a process on, or say why it cannot be."""
        if self._members.get(member.seat) is not member:
            return False
        node = member.seat.node
        try:
            hello: Hello = self.ray.get(ref)
        except self.ray.errors as error:
            self.drop(member)
            tries = self._tries[member.seat]
            if tries.failures >= MOST_FAILURES and node.node_id in self._first:
                self._refuse(member, f"could not begin: {reason_of(error)}")
            return False
        wrong = misfit(Passport.own(), hello.passport, member.asked, time.time())
        if wrong is None and hello.unseen is not None:
            wrong = f"does not see {hello.unseen}; mount it at the same path on every node"
        if wrong is not None:
            self._refuse(member, wrong)
            return False
        member.joined, member.room = time.monotonic(), hello.room
        return True

    def _refuse(self, member: Member, why: str) -> None:
        """Do without a node that does not fit: at the start nothing is begun without it."""
        node = member.seat.node
        if node.node_id in self._first and not any(m.joined for m in self._members.values()):
            raise ExecutionError(f"node {node.name} {why}")
        logger.warning("node %s is left out: it %s", node.name, why)
        self.nodes[node.name].reason = why
        for other in [each for each in self._members.values() if each.seat.node == node]:
            self.drop(other)

    def drop(self, member: Member) -> None:
        """Do without a process; its seat is filled again after a while."""
        if self._members.get(member.seat) is not member:
            return
        del self._members[member.seat]
        self.ray.kill(member.handle)
        report, tries = self.nodes[member.seat.node.name], self._tries[member.seat]
        report.lost += 1
        self._note_time(member)
        tries.failures += 1
        tries.fruitless += 1
        pause = min(LONGEST_PAUSE_SECONDS, 0.25 * 2**tries.failures)
        tries.at = time.monotonic() + pause

    def worked(self, member: Member) -> None:
        """Note that a process has done something."""
        tries = self._tries[member.seat]
        tries.failures = tries.fruitless = 0

    def fruitless(self) -> int:
        """How many processes have died in a row at the unluckiest seat."""
        return max((tries.fruitless for tries in self._tries.values()), default=0)

    def close(self) -> None:
        """End all processes."""
        for member in self._members.values():
            self._note_time(member)
            self.ray.kill(member.handle)
        self._members.clear()

    def _note_time(self, member: Member) -> None:
        if member.joined is not None and member.seat.kind == "encode":
            report = self.nodes[member.seat.node.name]
            report.device_seconds += time.monotonic() - member.joined
