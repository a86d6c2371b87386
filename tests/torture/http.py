"""Hostile requests by the thousand: the server answers each as it should, and others meanwhile.

`python -m tests.torture.http` sends them to `serve` in a process of its own, eight at a time, and
prints how they were met, with the latency of `/livez`, memory and descriptors all the while.
"""

import argparse
import json
import random
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tests.torture.server import HEAD, Server, started

LIMITS = {"head_seconds": 2, "body_seconds": 2, "read_seconds": 3, "max_connections": 128}
LIMITS |= {"max_upload_bytes": 1 << 20, "sql_seconds": 3, "sql_memory": "256MB"}
ALLOWED = {200, 202, 204, 206, 304, 400, 403, 404, 405, 408, 409, 413, 416, 422, 429, 431, 501, 503}
PATHS = ["/", "/livez", "/videos", "/videos/1", "/query", "/sql", "/jobs", "/metrics", "/docs"]
PATHS += ["/videos/1/frames/1.jpg", "/videos/1/clip.mp4?start=0&stop=2", "/v1/videos", "/nowhere"]
STATEMENTS = [
    "SELECT range AS a, repeat('x', 50) AS b FROM range(200000)",
    "SELECT sum(a.range) FROM range(1000000) a, range(1000000) b",
    "SELECT 'x'::INT",
    "SELECT list(range) FROM range(100000000)",
    f"SELECT {'(' * 400}1{')' * 400}",
    "SELECT 1 " + "UNION ALL SELECT 1 " * 300,
]
Send = Callable[[random.Random, socket.socket, int], None]


def _request(
    method: str, path: str, body: bytes = b"", kind: str = "application/json", *more: str
) -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {kind}", *more]
    head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


def _noise(chance: random.Random, line: socket.socket, _: int) -> None:
    line.sendall(chance.randbytes(chance.randrange(1, 5000)) + b"\r\n\r\n")


def _half_head(chance: random.Random, line: socket.socket, _: int) -> None:
    whole = _request("GET", chance.choice(PATHS))
    line.sendall(whole[: chance.randrange(1, len(whole) - 2)])


def _half_body(chance: random.Random, line: socket.socket, _: int) -> None:
    whole = _request("POST", chance.choice(PATHS), b"x" * 1000)
    line.sendall(whole[: -chance.randrange(1, 1000)])


def _long_body(chance: random.Random, line: socket.socket, _: int) -> None:
    kind = chance.choice(["multipart/form-data; boundary=b", "application/json", "text/plain"])
    head = _request("POST", chance.choice(PATHS), b"", kind).replace(b"Length: 0", b"Length: 1%08d")
    line.sendall(head.replace(b"%08d", b"0" * chance.randrange(8)))
    for _part in range(chance.randrange(200)):
        line.sendall(b"x" * 65536)


def _long_head(chance: random.Random, line: socket.socket, _: int) -> None:
    line.sendall(_request("GET", "/livez", b"", "a" * chance.randrange(10, 300_000)))


def _two_lengths(chance: random.Random, line: socket.socket, _: int) -> None:
    more = "Transfer-Encoding: " + chance.choice(["chunked", "gzip", "chunked, chunked", "x"])
    body = chance.choice([b"0\r\n\r\n", b"zz\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"F" * 40])
    line.sendall(_request("POST", "/query", body, "application/json", more))


def _chunks(chance: random.Random, line: socket.socket, _: int) -> None:
    head = b"POST /query HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    line.sendall(head + b"".join(b"1\r\nx\r\n" for _ in range(chance.randrange(5000))))


def _many_at_once(chance: random.Random, line: socket.socket, _: int) -> None:
    line.sendall(_request("GET", chance.choice(PATHS)) * chance.randrange(2, 100))


def _odd_head(chance: random.Random, line: socket.socket, _: int) -> None:
    method = chance.choice(["PUT", "X" * 60, "OPTIONS", "TRACE", "get", "CONNECT", "GET"])
    path = chance.choice(PATHS) + chance.choice(["", "//..//etc", "?%00=%ff", "%2e%2e/", "?" * 99])
    name = chance.choice(["Range", "If-None-Match", "X-Request-Id", "Authorization", "Origin"])
    value = chance.choice(
        ["bytes=-1-2-3", "bytes=99999999999-", "'\"\\", "*", "Bearer " + "é" * 50]
    )
    line.sendall(_request(method, path, b"", "a/b", f"{name}: {value}", "Upgrade: websocket"))


def _odd_json(chance: random.Random, line: socket.socket, _: int) -> None:
    depth = chance.choice([1, 50, 3000])
    odd = chance.choice(
        [
            "[" * depth + "]" * depth, '{"text": ' + "9" * 4000 + "}", '"\\ud800"', "{" * depth,
            json.dumps({"text": "a", "videos": [int("9" * 40)] * 100}),
            json.dumps({"text": "\0" * 100, "top_k": 1000}),
            json.dumps({"sql": "SELECT ?", "params": [[[[]]] * 50]}),
            json.dumps({"sql": "SELECT $a", "params": {"a": {"b": 1}}}),
            json.dumps({"path": "/" * 4000}), json.dumps({"path": "../../etc/passwd"}),
        ]
    )  # fmt: skip
    line.sendall(_request("POST", chance.choice(["/query", "/sql", "/videos"]), odd.encode()))


def _statement(chance: random.Random, line: socket.socket, _: int) -> None:
    body = json.dumps({"sql": chance.choice(STATEMENTS)}).encode()
    accept = chance.choice(["*/*", "text/csv", "application/vnd.apache.arrow.stream"])
    line.sendall(_request("POST", "/sql", body, "application/json", f"Accept: {accept}"))
    if chance.random() < 0.3:  # and goes
        time.sleep(chance.random())
        line.close()


def _pictures(chance: random.Random, line: socket.socket, _: int) -> None:
    for _number in range(10):
        at, width = chance.choice([0, 1e30, -5, "nan", chance.random() * 6]), chance.randrange(4000)
        line.sendall(
            _request("GET", f"/videos/{chance.randrange(4)}/frames/{at}.jpg?width={width}")
        )


def _upload(chance: random.Random, line: socket.socket, _: int) -> None:
    name = chance.choice(["../../x.mp4", "a" * 300, "\x7f", "x.mp4", ".."])
    body = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    body += chance.randbytes(chance.choice([0, 10, 100_000])) + chance.choice(
        [b"\r\n--b--\r\n", b""]
    )
    line.sendall(_request("POST", "/videos", body, "multipart/form-data; boundary=b"))


def _come_and_go(chance: random.Random, line: socket.socket, port: int) -> None:
    lines = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(chance.randrange(60))]
    for other in lines:
        if chance.random() < 0.5:
            other.sendall(b"GET /")
    for other in lines:
        other.close()
    line.sendall(_request("GET", "/livez"))


def _read_nothing(chance: random.Random, line: socket.socket, _: int) -> None:
    body = json.dumps({"sql": STATEMENTS[0]}).encode()
    line.sendall(_request("POST", "/sql", body))
    time.sleep(chance.random() * 5)


WAYS: list[Send] = [
    _noise, _half_head, _half_body, _long_body, _long_head, _two_lengths, _chunks, _many_at_once,
    _odd_head, _odd_json, _statement, _pictures, _upload, _come_and_go, _read_nothing,
]  # fmt: skip


def hostile(port: int, seed: int) -> str:
    """Send the request of a seed; say its way and what came back. A 500 is a fault."""
    chance = random.Random(seed)
    way = WAYS[seed % len(WAYS)]
    status = "closed"
    with socket.create_connection(("127.0.0.1", port), 30) as line:
        with suppress(ConnectionError):
            way(chance, line, port)
        with suppress(OSError, ValueError):
            found = line.recv(65536)
            status = found[9:12].decode() or status
            if status.isdigit():
                assert int(status) in ALLOWED, f"seed {seed}, {way.__name__}: {found[:500]!r}"
            line.settimeout(0.5)
            while chance.random() < 0.9 and line.recv(1 << 20):
                pass
    return f"{way.__name__[1:]} {status}"


def run(server: Server, first: int, count: int) -> tuple[Counter[str], list[str]]:
    """Send so many, eight at a time; count how they were met, and list the faults."""
    met, faults = Counter[str](), list[str]()
    with ThreadPoolExecutor(8) as threads:
        for asked in [threads.submit(hostile, server.port, first + n) for n in range(count)]:
            try:
                met[asked.result()] += 1
            except (AssertionError, OSError) as error:
                faults.append(str(error))
    return met, faults


def main() -> None:
    """Send the requests and print how they were met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, started(Path(folder), LIMITS) as server:
        run(server, 10**6, 60)  # what is loaded once is loaded
        with server.watched() as idle:
            time.sleep(6)
        with server.watched() as seen:
            met, faults = run(server, given.seed, given.count)
            time.sleep(6)  # for what was left open
    for how, times in sorted(met.items()):
        sys.stdout.write(f"{times:5} {how}\n")
    rows = [HEAD, idle.row("idle"), seen.row("attacked")]
    sys.stdout.write("\n".join([*faults, *rows, f"{len(faults)} faults", ""]))
    sys.exit(1 if faults or seen.failed else 0)


if __name__ == "__main__":
    main()
