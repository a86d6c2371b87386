"""Load on loopback: 64 clients beside an ingest, and what one client waits for, idle and then.

`python -m tests.torture.load` prints, for each kind of request, how many were answered and their
times, first of one client on an idle server, then of all of them while videos are brought in.
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
from tests.torture.server import Server, started

TEXTS = ["a red circle moves left", "a star", "a blue square", "two circles"]
KINDS = ("livez", "videos", "query", "sql", "frame")
MIX = (4, 3, 3, 2, 4)  # of each kind


@dataclass(slots=True)
class Asked:
    """What clients saw."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)

    def __str__(self) -> str:
        lines = []
        for kind in KINDS:
            taken = 1000 * np.array(self.seconds[kind] or [np.nan])
            said = {status: n for (k, status), n in sorted(self.statuses.items()) if k == kind}
            median, most = np.median(taken), np.quantile(taken, 0.99)
            lines.append(f"  {kind:8} median {median:8.1f} ms  p99 {most:8.1f} ms  {said}")
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
        idle = asyncio.run(_ask(server, 1, 10.0, 0.02))
        assert asyncio.run(_bring_in(server, more)) == 202
        with server.watched() as seen:
            busy = asyncio.run(_ask(server, given.clients, given.seconds, given.pause))
    sys.stdout.write(f"idle, one client\n{idle}\n")
    sys.stdout.write(f"{given.clients} clients beside an ingest\n{busy}\n{seen}\n")
    refused = {status for _, status in busy.statuses if status not in (200, 503)}
    sys.exit(1 if refused or seen.failed else 0)


if __name__ == "__main__":
    main()
