"""A simulated cluster under the real flow of work: nodes that die and come back, lanes that fill.

`python -m tests.cluster.simulation --gpu-nodes 90 --cpu-nodes 910 --seconds 120` simulates 1,000
nodes. Only the machines are made up: who decodes what and who encodes it is decided by
`engine.cluster.flow.Flow`, as on a cluster.
"""

import argparse
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from time import perf_counter

from engine.cluster.encoding import LINGER_SECONDS, room_for
from engine.cluster.flow import Decode, Flow

Job = tuple[int, int]  # a video and a stretch of it


@dataclass(frozen=True)
class Machines:
    """What the cluster is made of, and how fast and mortal it is."""

    gpu_nodes: int = 90  # one GPU each
    cpu_nodes: int = 910
    decoders: int = 16  # of a CPU node
    lanes: int = 64
    frames: int = 64  # of a stretch
    gpu_frames_per_second: float = 4000.0
    turn_overhead_seconds: float = 0.02
    decode_seconds: float = 2.1  # of a stretch, in the mean; spread by a factor of 1.6
    frame_bytes: int = 150_528
    node_bytes_per_second: float = 1.25e9  # ten gigabits
    node_lives_seconds: float = 3600.0  # in the mean
    away_seconds: float = 90.0  # until a node is back
    noticed_seconds: float = 3.0  # until its death is known


@dataclass
class Gpu:
    """One encoder: what it has, what is in its lanes, how long they were full."""

    name: str
    node: int
    waits: list["Parcel"] = field(default_factory=list)
    lanes: list["Parcel"] = field(default_factory=list)
    busy: bool = False
    began: float = 0.0  # its turn
    lingers: bool = False
    full: float = 0.0  # seconds times share of lanes
    alive: float = 0.0


@dataclass(eq=False)
class Parcel:
    """Pixels of a stretch, on the node that made them."""

    job: Job
    made_on: tuple[int, int]  # node and its incarnation


class Simulation:
    """Events by their time; each tells the flow what happened and carries out its orders."""

    def __init__(self, machines: Machines, seed: int, warm_seconds: float) -> None:
        self.has, self.draw, self.warm = machines, random.Random(seed), warm_seconds
        self.flow: Flow[Job, Parcel] = Flow()
        self.now, self._order = 0.0, count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self.lives: dict[int, int] = {}  # the incarnation of each node
        self.gpus: dict[str, Gpu] = {}
        self.past: list[Gpu] = []
        self.decoding: dict[str, tuple[int, int]] = {}  # node and incarnation of each decoder
        self.offered, self.done, self.deaths, self.messages = 0, dict[Job, int](), 0, 0
        self.parcels = self.most_parcels = 0
        for node in range(machines.gpu_nodes + machines.cpu_nodes):
            self.lives[node] = 0
            self._begin(node)

    def run(self, seconds: float) -> None:
        """Let so many seconds pass after the warm-up."""
        end = self.warm + seconds
        self._turn_over()
        while self._events and self._events[0][0] <= end:
            self.now, _, act = heappop(self._events)
            act()
            self._turn_over()
        for gpu in self.gpus.values():
            self.past.append(gpu)
            if gpu.busy:
                self._count(gpu, end)
            gpu.alive = end - max(self.warm, gpu.alive)

    @property
    def fullness(self) -> float:
        """The share of lanes that had a stream, over all seconds that encoders were there."""
        return sum(gpu.full for gpu in self.past) / sum(gpu.alive for gpu in self.past)

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        heappush(self._events, (self.now + seconds, next(self._order), act))

    def _begin(self, node: int) -> None:
        """A node is there, with its processes, until it dies."""
        life = self.lives[node]
        if node < self.has.gpu_nodes:
            name = f"gpu{node}.{life}"
            self.gpus[name] = Gpu(name, node, alive=self.now)
            self.flow.add_encoder(name, str(node), room_for(self.has.lanes))
        else:
            for at in range(self.has.decoders):
                name = f"cpu{node}.{life}.{at}"
                self.decoding[name] = (node, life)
                self.flow.add_decoder(name, str(node))
        lasts = self.draw.expovariate(1 / self.has.node_lives_seconds)
        self._later(lasts, lambda: self._die(node))

    def _die(self, node: int) -> None:
        """A node is gone at once; the driver knows of it a little later."""
        self.deaths += 1
        life = self.lives[node]
        self.lives[node] += 1
        gone = self.gpus.pop(f"gpu{node}.{life}", None)
        if gone is not None:
            gone.alive = max(0.0, self.now - max(self.warm, gone.alive))
            self.past.append(gone)
        self._later(self.has.noticed_seconds, lambda: self._notice(node, life))
        self._later(self.has.away_seconds, lambda: self._begin(node))

    def _notice(self, node: int, life: int) -> None:
        if node < self.has.gpu_nodes:
            self.flow.lose_encoder(f"gpu{node}.{life}")
            return
        for at in range(self.has.decoders):
            name = f"cpu{node}.{life}.{at}"
            del self.decoding[name]
            job = self.flow.lose_decoder(name)
            if job is not None:
                self.flow.offer(job, job[0], first=True)

    def _turn_over(self) -> None:
        """Offer as many jobs as are asked for, and carry out what the flow orders."""
        while self.flow.hungry:
            self.flow.offer((self.offered // 100, self.offered), self.offered // 100)
            self.offered += 1
        for order in self.flow.orders():
            self.messages += 2
            if isinstance(order, Decode):
                node, life = self.decoding[order.decoder]
                took = self.draw.lognormvariate(-0.11, 0.47) * self.has.decode_seconds
                self._later(took, self._decoded(order.decoder, order.job, (node, life)))
            else:
                size = self.has.frames * self.has.frame_bytes
                moved = size / self.has.node_bytes_per_second
                self._later(moved, self._arrived(order.encoder, order.parcel))
        self.most_parcels = max(self.most_parcels, self.parcels)

    def _decoded(self, name: str, job: Job, where: tuple[int, int]) -> Callable[[], None]:
        def act() -> None:
            if name in self.decoding and self.lives[where[0]] == where[1]:
                self.parcels += 1
                self.flow.decoded(name, Parcel(job, where), ends=True)

        return act

    def _arrived(self, name: str, parcel: Parcel) -> Callable[[], None]:
        def act() -> None:
            gpu = self.gpus.get(name)
            if gpu is None:
                return  # the flow gives the parcel to another when the death is noticed
            if self.lives[parcel.made_on[0]] != parcel.made_on[1]:
                self._later(self.has.noticed_seconds, lambda: self._lost(name, parcel))
                return
            gpu.waits.append(parcel)
            self._serve(gpu)

        return act

    def _lost(self, name: str, parcel: Parcel) -> None:
        """The pixels have died with the node that made them: they are made again."""
        if name in self.gpus:
            self.parcels -= 1
            self.flow.encoded(name, parcel)
            self.flow.offer(parcel.job, parcel.job[0], first=True)

    def _serve(self, gpu: Gpu) -> None:
        """Begin a turn with all lanes, or with fewer once nothing has come for a while."""
        if gpu.busy or not gpu.waits:
            return
        if len(gpu.waits) >= self.has.lanes:
            self._encode(gpu)
        elif not gpu.lingers:
            gpu.lingers = True
            self._later(LINGER_SECONDS, lambda: self._waited(gpu))

    def _waited(self, gpu: Gpu) -> None:
        gpu.lingers = False
        if not gpu.busy and gpu.waits and gpu.name in self.gpus:
            self._encode(gpu)

    def _encode(self, gpu: Gpu) -> None:
        gpu.busy, gpu.began = True, self.now
        gpu.lanes, gpu.waits = gpu.waits[: self.has.lanes], gpu.waits[self.has.lanes :]
        work = len(gpu.lanes) * self.has.frames / self.has.gpu_frames_per_second
        took = work + self.has.turn_overhead_seconds
        self._later(took, lambda: self._encoded(gpu))

    def _encoded(self, gpu: Gpu) -> None:
        if gpu.name not in self.gpus:
            return
        for parcel in gpu.lanes:
            self.parcels -= 1
            self.done[parcel.job] = self.done.get(parcel.job, 0) + 1
            self.flow.encoded(gpu.name, parcel)
        self._count(gpu, self.now)
        gpu.busy = False
        self._serve(gpu)

    def _count(self, gpu: Gpu, until: float) -> None:
        """Count the lanes of a turn; of one that a death broke off nothing is counted."""
        lasted = max(0.0, until - max(self.warm, gpu.began))
        gpu.full += lasted * len(gpu.lanes) / self.has.lanes


def main() -> None:
    """Simulate a cluster, and print how full its lanes were and what bound it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpu-nodes", type=int, default=90)
    parser.add_argument("--cpu-nodes", type=int, default=910)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--lives", type=float, default=3600.0, help="seconds that a node lives")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    machines = Machines(given.gpu_nodes, given.cpu_nodes, node_lives_seconds=given.lives)
    started = perf_counter()
    made = Simulation(machines, given.seed, warm_seconds=20.0)
    made.run(given.seconds)
    took = perf_counter() - started
    size = made.most_parcels * machines.frames * machines.frame_bytes
    decoders = machines.cpu_nodes * machines.decoders
    sys.stdout.write(
        f"{machines.gpu_nodes} GPU nodes, {machines.cpu_nodes} CPU nodes with {decoders} decoders,"
        f" {made.deaths} deaths in {made.now:.0f} s\n"
        f"lanes full: {made.fullness:.1%}\n"
        f"stretches encoded: {len(made.done)}, more than once: "
        f"{sum(times > 1 for times in made.done.values())}\n"
        f"pixels that exist at most: {size / 1e9:.1f} GB,"
        f" {size / 1e9 / (machines.cpu_nodes + machines.gpu_nodes):.2f} GB a node\n"
        f"messages of the driver: {made.messages / made.now:.0f} a second,"
        f" {1e6 * took / made.messages:.0f} µs of simulation each\n"
    )


if __name__ == "__main__":
    main()
