"""A Ray cluster on this machine: a head without processors, and nodes that can be killed.

Every node is a process of its own (with a raylet and its workers below it) with a limit on memory.
"""

import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.waiting import until

RAY = Path(sys.executable).with_name("ray")
ROOT = Path(__file__).resolve().parents[2]
MEMORY_BYTES = 4 << 30  # of private memory, for each process of a node
STORE_BYTES = 128 << 20
HEAD = ("--head", "--port=0", "--num-cpus=0", "--include-dashboard=false")


def environment(**more: str) -> dict[str, str]:
    """Return the variables of a process of the cluster."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_memory_monitor_refresh_ms": "0",  # the machine's memory is not ours alone
        "RAY_enable_metrics_collection": "0",
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_failure_threshold": "3",
        "RAY_worker_niceness": "0",  # else they get nothing where tests run beside them
        "OMP_NUM_THREADS": "1",
        **more,
    }


@dataclass
class LocalCluster:
    """The processes of one cluster."""

    folder: Path
    address: str = ""
    nodes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    _head: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start the head."""
        self._head, told = self._begin("head", *HEAD)
        found = until(lambda: re.search(r"--address='([\d.]+:\d+)'", told.read_text()))
        self.address = found.group(1)

    def add(self, name: str, cpus: int = 1, **more: str) -> None:
        """Start a node."""
        arguments = (f"--address={self.address}", f"--num-cpus={cpus}")
        self.nodes[name], _ = self._begin(name, *arguments, **more)

    def _begin(
        self, name: str, *arguments: str, **more: str
    ) -> tuple["subprocess.Popen[bytes]", Path]:
        told = self.folder / f"{name}.log"
        command = [str(RAY), "start", *arguments, "--block"]
        command += [f"--object-store-memory={STORE_BYTES}", "--disable-usage-stats"]
        command += ["--node-ip-address=127.0.0.1", f"--temp-dir={self.folder}"]
        with told.open("wb") as out:
            process = subprocess.Popen(
                command,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=environment(**more),
                preexec_fn=_limited,
                start_new_session=True,
            )
        return process, told

    def kill_node(self, name: str) -> None:
        """Kill a raylet and all that it has started, as when a machine loses its power."""
        _kill_tree(self.nodes.pop(name))

    def stop(self) -> None:
        """End all of it."""
        for process in [*self.nodes.values(), *([self._head] if self._head else [])]:
            _kill_tree(process)
        self.nodes.clear()

    def workers(self, kind: str) -> list[psutil.Process]:
        """Return the processes of a class, such as DecodeProcess."""
        found = []
        for node in self.nodes.values():
            for process in _below(node.pid):
                try:
                    title = " ".join(process.cmdline())
                except psutil.Error:
                    continue
                if title.startswith(f"ray::{kind}"):
                    found.append(process)
        return found


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))


def _below(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _kill_tree(process: "subprocess.Popen[bytes]") -> None:
    below = _below(process.pid)
    for each in [process, *below]:
        try:
            os.kill(each.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()
    psutil.wait_procs(below, timeout=10)


@contextmanager
def local_cluster(nodes: int, cpus: int = 1, **more: str) -> Iterator[LocalCluster]:
    """Give a cluster with so many nodes, and end it."""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as told:
        cluster = LocalCluster(Path(told))
        try:
            cluster.start()
            for at in range(nodes):
                cluster.add(f"node{at}", cpus, **more)
            yield cluster
        finally:
            cluster.stop()
