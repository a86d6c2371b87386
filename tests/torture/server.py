"""A server in a process of its own on a small store, watched from outside while it is tried."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import httpx
import numpy as np

from engine.session import Engine
from engine.video.write import write_h264
from engine.world.clip import make_clip
from engine.world.render import render_frames

# measures from a process of its own, so that what sends requests does not slow what is measured
PROBE = """
import socket, sys, time
port, every, path = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3].encode()
line = None
while True:
    begun = time.perf_counter()
    try:
        if line is None:
            line = socket.create_connection(("127.0.0.1", port), 60)
        line.sendall(b"GET " + path + b" HTTP/1.1\\r\\nHost: 127.0.0.1:%d\\r\\n\\r\\n" % port)
        text = b""
        while not text.endswith(b"}"):
            part = line.recv(65536)
            if not part:
                raise ConnectionError
            text += part
        good = text.startswith(b"HTTP/1.1 200")
    except OSError:
        line, good = None, False
    print(f"{time.perf_counter() - begun:.6f} {int(good)}", flush=True)
    time.sleep(every)
"""


@dataclass(slots=True)
class Watched:
    """What was seen of a server: latencies of a path, memory and descriptors."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    rss: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        """Return a quantile of the latencies, in milliseconds."""
        return float(1000 * np.quantile(self.seconds, share)) if self.seconds else float("nan")

    def row(self, name: str) -> str:
        """Return what was seen as a row under `HEAD`."""
        figures = [f"{self.quantile(share):8.1f}" for share in (0.5, 0.99, 1)]
        held = [f"{size >> 20:6d}" for size in (self.rss[0], max(self.rss), self.rss[-1])]
        files = [f"{n:5d}" for n in (self.descriptors[0], max(self.descriptors))]
        return f"{name:14}{len(self.seconds):7d}{self.failed:7d}{''.join(figures + held + files)}"


HEAD = (
    f"{'/livez':14}{'asked':>7}{'failed':>7}{'p50 ms':>8}{'p99 ms':>8}{'worst':>8}"
    f"{'MiB':>6}{'most':>6}{'last':>6}{'files':>5}{'most':>5}"
)


@dataclass(frozen=True, slots=True)
class Server:
    """Where it answers, and what it is."""

    port: int
    pid: int
    clips: Path

    def rss(self) -> int:
        """Bytes that the process holds."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def allocated(self) -> int | None:
        """Bytes that its malloc has given out, where it can tell."""
        told = httpx.get(f"http://127.0.0.1:{self.port}/metrics").text
        found = re.search(r"^dejavu_allocated_bytes (\S+)", told, re.MULTILINE)
        return int(float(found[1])) if found else None

    def descriptors(self) -> int:
        """How many it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    @contextmanager
    def watched(self, every: float = 0.02) -> Iterator[Watched]:
        """Watch it all the while."""
        seen, stop = Watched(), Event()
        command = [sys.executable, "-c", PROBE, str(self.port), str(every), "/livez"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as probe:
            assert probe.stdout is not None
            lines = probe.stdout

            def listen() -> None:
                for line in lines:
                    taken, good = line.split()
                    seen.seconds.append(float(taken))
                    seen.failed += good == "0"

            def look() -> None:
                while not stop.wait(0.2):
                    seen.rss.append(self.rss())
                    seen.descriptors.append(self.descriptors())

            threads = [Thread(target=listen), Thread(target=look)]
            seen.rss.append(self.rss())
            seen.descriptors.append(self.descriptors())
            for thread in threads:
                thread.start()
            try:
                yield seen
            finally:
                stop.set()
                probe.kill()
                for thread in threads:
                    thread.join()
                seen.rss.append(self.rss())
                seen.descriptors.append(self.descriptors())


def make_store(folder: Path, *, clips: int = 3) -> Path:
    """Make clips and a store of them; return the folder of the clips."""
    shown = folder / "clips"
    shown.mkdir(parents=True)
    for seed in range(clips):
        clip = make_clip(seed, "test", duration_seconds=6.0)
        write_h264(shown / f"{seed}.mp4", render_frames(clip, 96), clip.fps)
    with Engine.open(folder / "store", device="cpu") as engine:
        engine.ingest(shown, fps=2, strategy="dense")
    return shown


@contextmanager
def started(folder: Path, limits: Mapping[str, object]) -> Iterator[Server]:
    """Make a small store and start `serve` on it with some limits."""
    clips = make_store(folder)
    told = {f"DEJAVU_{name.upper()}": str(value) for name, value in limits.items()}
    told["DEJAVU_VIDEO_ROOTS"] = str(folder)
    with serving(folder / "store", told) as (port, pid):
        yield Server(port, pid, clips)


@contextmanager
def serving(data: Path, told: Mapping[str, str]) -> Iterator[tuple[int, int]]:
    """Start `serve` on a store with more in its environment; its port and its process."""
    command = [
        *(sys.executable, "-c", "from api.cli.start import main; main()"),
        *("serve", "--json", "--port", "0", "--data", str(data), "--device", "cpu"),
    ]
    with subprocess.Popen(
        command, env={**os.environ, **told}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = json.loads("".join(_document(process.stdout)))
        try:
            yield int(said["url"].rpartition(":")[2]), process.pid
        finally:
            process.terminate()
            deadline = time.monotonic() + 30
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
            process.kill()


def _document(lines: Iterator[str]) -> Iterator[str]:
    """Read until a document is whole."""
    text = ""
    for line in lines:
        text += line
        yield line
        try:
            json.loads(text)
        except ValueError:
            continue
        return
