"""Connections that end: deadlines for heads, bodies and readers, a cap on how many there are.

uvicorn waits for a request for as long as the other side likes, and drops what is sent after an
answer for as long as it comes. All of this holds before a request has a route or a key.
"""

import asyncio
import json
import socket
import sys
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from time import monotonic
from typing import Any, Literal, cast

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from api.config import ServerSettings

_LINGER_SECONDS = 2.0  # what still comes is dropped for so long, so that an answer can be read
_AT_ONCE = 4096  # bytes that may be heads or chunks, each an event; others wait meanwhile
_BODY_AT_ONCE = 65536  # of a body that comes without chunks
_SLOWEST = 1024  # bytes a second that a body must bring over each of its deadlines
Phase = Literal["head", "body", "none"]


def server_of(app: ASGIApp, settings: ServerSettings) -> uvicorn.Server:
    """Return the server of an application; it takes the sockets that it is run with."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=cast("type[asyncio.Protocol]", partial(Connection, patience=settings)),
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=10,
        )
    )


class Connection(H11Protocol):
    """One connection of a browser or a program."""

    def __init__(self, *, patience: ServerSettings, **named: Any) -> None:
        super().__init__(**named)
        self.patience = patience
        self.phase: Phase = "none"
        self.since = monotonic()
        self._received = 0
        self._rest = b""  # came, but is not looked at yet
        self._leaving = False
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it, in place of one that says nothing where there are as many as allowed."""
        raw = transport.get_extra_info("socket")
        if raw.family in (socket.AF_INET, socket.AF_INET6):  # else a body waits for its head's ack
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        refused = len(self.connections) >= self.patience.max_connections and not self._displace()
        super().connection_made(_Leaving(transport, self._leave))
        if refused:
            said = f"{self.patience.max_connections} connections are busy, as many as are allowed"
            self.give_up(HTTPStatus.SERVICE_UNAVAILABLE, said)
        else:
            self._enter("head")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines."""
        self._enter("none")
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; after the last answer what comes is dropped."""
        if self._leaving:
            return
        self._received += len(data)
        waits = bool(self._rest)
        self._rest += data
        if not waits:
            self._read_on()

    def _read_on(self) -> None:
        """Take a part of what came, so that a thousand chunks keep no other connection waiting."""
        if self._leaving or self.transport.is_closing():
            self._rest = b""
            return
        in_body = self.conn.their_state is h11.SEND_BODY
        plain = in_body and b"transfer-encoding" not in dict(self.headers)
        size = _BODY_AT_ONCE if plain else _AT_ONCE
        part, self._rest = self._rest[:size], self._rest[size:]
        super().data_received(part)
        self._watch()
        if self._rest:
            self.transport.pause_reading()
            self.loop.call_soon(self._read_on)
        elif not self.flow.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def on_response_complete(self) -> None:
        """Answer the next request, or leave where this one's body was not read to its end."""
        unread = self.conn.their_state is h11.SEND_BODY
        super().on_response_complete()
        if unread and not self.transport.is_closing():
            self.transport.close()
        self.since = monotonic()
        self._watch()

    def pause_writing(self) -> None:
        """Wait for who reads the answer, but not for good."""
        super().pause_writing()
        self._unread = self.loop.call_later(self.patience.read_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on."""
        if self._unread:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Say that this is no request; why is known to the parser alone."""
        self.phase = "head"  # more of whatever this is may come
        error = sys.exception()
        hint = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        self.give_up(HTTPStatus(hint), f"this is no request: {error or msg}")

    def give_up(self, status: HTTPStatus, detail: str) -> None:
        """Say why, where nothing was said yet, and leave; whoever waits for the body is told."""
        running = self.cycle is not None and not self.cycle.response_complete
        begun = running and self.cycle.response_started
        if not begun and self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._say(status, detail)
        if running:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def _say(self, status: HTTPStatus, detail: str) -> None:
        body = json.dumps(
            {
                "type": "about:blank",
                "title": status.phrase,
                "status": status,
                "detail": detail,
                "instance": "",
                "request_id": "",
            }
        ).encode()
        headers = [
            ("content-type", "application/problem+json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        for event in (
            h11.Response(status_code=status, headers=headers, reason=status.phrase.encode()),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")

    def _displace(self) -> bool:
        """End the connection that has waited for a request for the longest, if there is one."""
        mine = cast("set[Connection]", self.connections)
        idle = min((c for c in mine if c.idle), key=lambda c: c.since, default=None)
        if idle is None:
            return False
        idle._leaving = True
        idle.transport.abort()
        return True

    @property
    def idle(self) -> bool:
        """Whether no request is being read or answered."""
        answered = self.cycle is None or self.cycle.response_complete
        return answered and not self._leaving and self.phase != "body"

    def _watch(self) -> None:
        """Set the deadline of what the other side has begun."""
        theirs = self.conn.their_state
        if theirs is h11.SEND_BODY:
            self._enter("body")
        elif theirs is h11.IDLE and self.conn.trailing_data[0]:
            self._enter("head")
        else:
            self._enter("none")

    def _enter(self, phase: Phase) -> None:
        if phase != self.phase:
            self.phase, self.since = phase, monotonic()
            self._cancel()
            self._wait()

    def _wait(self) -> None:
        if self.phase == "head":
            self._deadline = self.loop.call_later(self.patience.head_seconds, self._no_head)
        elif self.phase == "body":
            self._received = 0
            self._deadline = self.loop.call_later(self.patience.body_seconds, self._no_body)

    def _no_head(self) -> None:
        said = f"no whole head in {self.patience.head_seconds:g} seconds"
        self.give_up(HTTPStatus.REQUEST_TIMEOUT, said)

    def _no_body(self) -> None:
        """Leave a body that trickles; where it is we who do not read, it has time."""
        seconds = self.patience.body_seconds
        if self.flow.read_paused or self._received >= _SLOWEST * seconds:
            self._wait()
        else:
            said = f"{self._received} bytes of the body in {seconds:g} seconds"
            self.give_up(HTTPStatus.REQUEST_TIMEOUT, said)

    def _cancel(self) -> None:
        for timer in (self._deadline, self._unread):
            if timer:
                timer.cancel()
        self._deadline = self._unread = None

    def _leave(self, transport: asyncio.Transport) -> None:
        """Close; where more is coming, read it away a while, or a reset would eat the answer."""
        coming, leaving = self.phase != "none", self._leaving
        self._cancel()
        if leaving or not coming or not transport.can_write_eof():
            transport.close()
            return
        self._leaving = True
        self.flow.resume_reading()
        transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, transport.abort)


class _Leaving(asyncio.Transport):
    """The transport, whose `close` lets the connection choose how."""

    def __init__(
        self, transport: asyncio.Transport, leave: Callable[[asyncio.Transport], None]
    ) -> None:
        super().__init__()
        self._transport = transport
        self._leave = leave
        self._left = False

    def close(self) -> None:
        """Close soon."""
        self._left = True
        self._leave(self._transport)

    def is_closing(self) -> bool:
        """Whether no more is to be written."""
        return self._left or self._transport.is_closing()

    def write(self, data: Any) -> None:
        """Send, unless all was said."""
        if not self._left:
            self._transport.write(data)

    def abort(self) -> None:
        """Close now."""
        self._transport.abort()

    def pause_reading(self) -> None:
        """Let the other side wait."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Tell of the socket."""
        return self._transport.get_extra_info(name, default)
