"""Connections of a real server: how long they may keep it waiting, and how they end."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import h11
import pytest

from api.config import ServerSettings
from api.connection import Connection
from tests.api.conftest import serving
from tests.waiting import LONG, until

MIB = 1 << 20


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer at once on /now, with many bytes on /much, else when the body is there.

    With its length, or on /turns with how often the loop went round meanwhile.
    """
    size, path, turns = 0, scope["path"], 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    while path not in ("/now", "/much"):
        message = await receive()
        if message["type"] == "http.disconnect":
            counting.cancel()
            return
        size += len(message["body"])
        if not message["more_body"]:
            break
    counting.cancel()
    body = b"x" * (32 * MIB) if path == "/much" else str(size).encode()
    if path == "/turns":
        body = str(turns).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def running(**limits: Any) -> Iterator[int]:
    """A server with some limits, in a thread; its port."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await echo(scope, receive, send)
        else:
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})

    with serving(app, ServerSettings(**limits)) as port:
        yield port


@pytest.fixture(scope="module")
def hasty() -> Iterator[int]:
    """A server that does not wait for heads."""
    with running(head_seconds=0.3) as port:
        yield port


@pytest.fixture(scope="module")
def strict() -> Iterator[int]:
    """A server that does not wait for bodies."""
    with running(body_seconds=0.3) as port:
        yield port


@pytest.fixture(scope="module")
def patient() -> Iterator[int]:
    """A server with the limits of every day."""
    with running() as port:
        yield port


def ask(port: int, *parts: bytes, pause: float = 0.0) -> tuple[int, bytes]:
    """Send something, read to the end; the status and the body."""
    with socket.create_connection(("127.0.0.1", port), LONG) as line:
        for part in parts:
            line.sendall(part)
            time.sleep(pause)
        return answer_of(line)


def answer_of(line: socket.socket) -> tuple[int, bytes]:
    """Read one answer; status 0 where the other side said nothing."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    client.send(h11.EndOfMessage())
    status, body = 0, b""
    while True:
        event = client.next_event()
        if event is h11.NEED_DATA:
            data = line.recv(65536)
            if not data and not status:
                return 0, b""
            client.receive_data(data)
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
        else:
            return status, body


def all_sent(line: socket.socket, parts: list[bytes], *, pause: float) -> bool:
    """Send until the other side is gone."""
    try:
        for part in parts:
            line.sendall(part)
            time.sleep(pause)
    except (ConnectionResetError, BrokenPipeError):
        return False
    return True


HEAD = b"POST /all HTTP/1.1\r\nHost: x\r\n"


def test_a_body_does_not_wait_for_the_acknowledgement_of_its_head(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By default asyncio does not see to it: the protocol of an accepted socket is 0, not TCP."""
    made = Connection.connection_made
    sockets = list[Any]()

    def noted(self: Connection, transport: asyncio.Transport) -> None:
        made(self, transport)
        sockets.append(transport.get_extra_info("socket"))

    monkeypatch.setattr(Connection, "connection_made", noted)
    with running() as port, socket.create_connection(("127.0.0.1", port), LONG) as line:
        for _ in range(3):
            line.sendall(b"GET /now HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer_of(line) == (200, b"0")
        (theirs,) = sockets
        assert theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    "part",
    [b"", b"GET", b"GET / HTTP/1.1\r\nHost: x\r\n", b"GET / HTTP/1.1\r\nX: " + b"a" * 1000],
)
def test_a_head_that_does_not_end_is_given_up(hasty: int, part: bytes) -> None:
    status, body = ask(hasty, part)
    assert (status, json.loads(body)["status"]) == (408, 408)
    assert json.loads(body)["detail"] == "no whole head in 0.3 seconds"


def test_a_head_that_trickles_is_given_up_too(hasty: int) -> None:
    with socket.create_connection(("127.0.0.1", hasty), LONG) as line:
        letters = [bytes([letter]) for letter in b"GET / HTTP/1.1\r\nX: " + b"a" * 2000]
        assert not all_sent(line, letters, pause=0.05)


def test_the_second_head_on_a_line_has_a_deadline(hasty: int) -> None:
    def second() -> int | None:  # unless it was the first that we were too slow with
        with socket.create_connection(("127.0.0.1", hasty), LONG) as line:
            line.sendall(b"GET /now HTTP/1.1\r\nHost: x\r\n\r\n")
            if answer_of(line)[0] != 200:
                return None
            line.sendall(b"GET /now HT")
            return answer_of(line)[0]

    assert until(second) == 408


@pytest.mark.parametrize(
    "head",
    [HEAD + b"Content-Length: 9\r\n\r\nab", HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n"],
)
def test_a_body_that_does_not_end_is_given_up(strict: int, head: bytes) -> None:
    status, body = ask(strict, head)
    assert status == 408
    assert "of the body in 0.3 seconds" in json.loads(body)["detail"]


def test_a_long_body_has_the_time_it_needs(strict: int) -> None:
    parts = [b"x" * 4096] * 20  # 0.8 s in all, always some
    head = HEAD + b"Content-Length: %d\r\n\r\n" % (20 * 4096)

    def is_taken() -> bool:  # unless it was us who sent nothing for too long
        with suppress(ConnectionError):
            return ask(strict, head, *parts, pause=0.04) == (200, b"%d" % (20 * 4096))
        return False

    assert until(is_taken)


def test_who_does_not_read_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    left, lost = threading.Event(), Connection.connection_lost

    def noted(self: Connection, exc: Exception | None) -> None:
        lost(self, exc)
        if self.patience.read_seconds == 0.3:  # no other test's, which ends late
            left.set()

    monkeypatch.setattr(Connection, "connection_lost", noted)
    with running(read_seconds=0.3) as port, socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
        assert left.wait(LONG)
        line.settimeout(LONG)
        size = 0
        with suppress(ConnectionResetError):
            while data := line.recv(MIB):
                size += len(data)
        assert size < 32 * MIB


def test_an_answer_before_its_body_is_read_by_who_sends_on(patient: int) -> None:
    with socket.create_connection(("127.0.0.1", patient), LONG) as line:
        line.sendall(b"POST /now HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\n\r\n")
        for _ in range(20):
            line.sendall(b"x" * 65536)
        assert answer_of(line) == (200, b"0")
        assert not all_sent(line, [b"x" * 65536] * 10_000, pause=0.01)  # does not go on for good


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000, 431),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
)
def test_what_is_no_request_is_told_so(patient: int, sent: bytes, status: int) -> None:
    got, body = ask(patient, sent)
    assert (got, json.loads(body)["status"]) == (status, status)


def test_two_requests_at_once_are_answered_in_order(patient: int) -> None:
    second = HEAD + b"Content-Length: 3\r\n\r\nabc"
    with socket.create_connection(("127.0.0.1", patient), LONG) as line:
        line.sendall(b"GET /now HTTP/1.1\r\nHost: x\r\n\r\n" + second)
        text = b""
        while not text.endswith(b"\r\n\r\n3"):
            part = line.recv(65536)
            assert part, text[-300:]
            text += part
        assert text.count(b"HTTP/1.1 200") == 2


def test_a_newcomer_takes_the_place_of_who_says_nothing() -> None:
    with running(max_connections=4) as port:
        lines = [socket.create_connection(("127.0.0.1", port), LONG) for _ in range(30)]
        try:
            assert ask(port, b"GET /now HTTP/1.1\r\nHost: x\r\n\r\n")[0] == 200
            assert lines[0].recv(1) == b""
        finally:
            for line in lines:
                line.close()


def test_where_all_are_busy_a_newcomer_is_told() -> None:
    with running(max_connections=2) as port:
        lines = [socket.create_connection(("127.0.0.1", port), LONG) for _ in range(2)]
        try:
            for line in lines:
                line.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n")
                assert line.recv(99).startswith(b"HTTP/1.1 100")  # its body is waited for
            with socket.create_connection(("127.0.0.1", port), LONG) as line:
                assert answer_of(line)[0] == 503
        finally:
            for line in lines:
                line.close()


def test_small_chunks_are_read_in_parts_between_which_others_are_met(patient: int) -> None:
    chunks = b"1\r\nx\r\n" * 10_000
    head = b"POST /turns HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    status, turns = ask(patient, head + chunks + b"0\r\n\r\n")
    assert status == 200
    assert int(turns) > 5
    status, size = ask(patient, head.replace(b"/turns", b"/") + chunks + b"0\r\n\r\n")
    assert (status, size) == (200, b"10000")


def test_requests_one_after_the_other_in_one_piece_are_all_answered(patient: int) -> None:
    one = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 300\r\n\r\n" + b"x" * 300
    with socket.create_connection(("127.0.0.1", patient), LONG) as line:
        line.sendall(one * 60)
        text = b""
        while text.count(b"\r\n\r\n300") < 60:
            part = line.recv(65536)
            assert part, text[-300:]
            text += part
