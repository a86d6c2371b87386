"""Load on loopback: 64 clients beside an ingest, and what one client waits for, idle and then.

`python -m tests.torture.load` prints the times of each kind of request, of one client on an idle
server beside those of all of them while videos are brought in, with how many were answered how.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from engine.video.write import write_h264
from engine.world.clip import make_clip
from engine.world.render import render_frames
from tests.torture.server import HEAD, Server, started

TEXTS = ["a red circle moves left", "a star", "a blue square", "two circles"]
KINDS = ("livez", "videos", "query", "sql", "frame")
MIX = (4, 3, 3, 2, 4)  # of each kind


@dataclass(slots=True)
class Asked:
    """What clients saw."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)

    def quantiles(self, kind: str) -> tuple[float, float]:
        """Return the median and the 99th percentile of a kind, in milliseconds."""
        taken = 1000 * np.array(self.seconds[kind] or [np.nan])
        return float(np.median(taken)), float(np.quantile(taken, 0.99))

    def answers(self, kind: str) -> str:
        """Return how many of each status there were."""
        counted = sorted((status, n) for (k, status), n in self.statuses.items() if k == kind)
        return " ".join(f"{status}:{n}" for status, n in counted)


def _table(idle: Asked, busy: Asked) -> str:
    lines = [f"{'':8}{'idle p50':>10}{'p99 ms':>8}{'loaded p50':>12}{'p99 ms':>8}{'ratio':>7}"]
    for kind in KINDS:
        (one, slow), (all_, slowest) = idle.quantiles(kind), busy.quantiles(kind)
        figures = f"{one:10.1f}{slow:8.1f}{all_:12.1f}{slowest:8.1f}{slowest / slow:7.1f}"
        lines.append(f"{kind:8}{figures}  {busy.answers(kind)}")
    return "\n".join(lines)


def _request(kind: str, chance: random.Random, port: int) -> bytes:
    method, path, body = "GET", "/livez", b""
    if kind == "videos":
        path = "/videos"
    if kind == "query":
        method, path = "POST", "/query"
        body = json.dumps({"text": chance.choice(TEXTS), "top_k": 5}).encode()
    if kind == "sql":
        method, path = "POST", "/sql"
        body = b'{"sql": "SELECT video_id, count(*) AS n FROM frames GROUP BY 1"}'
    if kind == "frame":
        path = f"/videos/1/frames/{chance.random() * 5:.2f}.jpg"
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Content-Type: application/json\r\n\r\n".encode() + body


async def _answer(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        while size := int(await reader.readline(), 16):
            await reader.readexactly(size + 2)
        await reader.readline()
    else:
        await reader.readexactly(int(lower.split(b"content-length:")[1].split(b"\r\n")[0]))
    return int(head[9:12])


async def _client(server: Server, seed: int, until: float, seen: Asked, pause: float) -> None:
    chance = random.Random(seed)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    while time.monotonic() < until:
        (kind,) = chance.choices(KINDS, MIX)
        begun = time.perf_counter()
        writer.write(_request(kind, chance, server.port))
        status = await _answer(reader)
        seen.seconds[kind].append(time.perf_counter() - begun)
        seen.statuses[kind, status] += 1
        await asyncio.sleep(pause * chance.random() * 2)
    writer.close()


async def _ask(server: Server, clients: int, seconds: float, pause: float) -> Asked:
    seen, until = Asked(), time.monotonic() + seconds
    await asyncio.gather(*(_client(server, seed, until, seen, pause) for seed in range(clients)))
    return seen


async def _bring_in(server: Server, path: Path) -> int:
    body = json.dumps({"path": str(path), "strategy": "dense", "fps": 8}).encode()
    head = f"POST /videos HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(head.encode() + body)
    status = await _answer(reader)
    writer.close()
    return status


def main() -> None:
    """Ask and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between, at the mean")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, started(Path(folder), {}) as server:
        more = Path(folder) / "more"
        more.mkdir()
        for seed in range(100, 108):
            clip = make_clip(seed, "test", duration_seconds=60.0)
            write_h264(more / f"{seed}.mp4", render_frames(clip, 96), clip.fps)
        asyncio.run(_ask(server, 1, 3.0, 0.0))
        with server.watched() as alone:
            idle = asyncio.run(_ask(server, 1, 10.0, 0.02))
        assert asyncio.run(_bring_in(server, more)) == 202
        with server.watched() as seen:
            busy = asyncio.run(_ask(server, given.clients, given.seconds, given.pause))
    rows = [HEAD, alone.row("idle"), seen.row(f"{given.clients} clients")]
    sys.stdout.write("\n".join([_table(idle, busy), *rows, ""]))
    refused = {status for _, status in busy.statuses if status not in (200, 503)}
    sys.exit(1 if refused or seen.failed else 0)


if __name__ == "__main__":
    main()
