"""`serve`: the HTTP API and the page."""

import errno
import gc
import logging
import os
import signal
import socket
import sys
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

import engine
from api.cli import flags, show
from engine.errors import UsageError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from api.config import ServerSettings

_SWITCH_SECONDS = 0.001  # after which a thread that computes lets another one


def serve(
    host: Annotated[str, typer.Option(envvar="DEJAVU_HOST", help="Address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="DEJAVU_PORT", help="Port.")] = 8000,
    shards: Annotated[
        str,
        typer.Option(
            envvar="DEJAVU_SHARDS",
            help="Ask these servers together, URL or NAME=URL with commas; nothing is stored here.",
        ),
    ] = "",
    data: flags.Data = flags.DATA,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Serve the API, the page at / and its documentation at /docs.

    With --json a document on stdout says where, as soon as connections are taken.
    """
    from pydantic import ValidationError

    from api.app import create_app
    from api.config import ServerSettings

    try:
        settings = ServerSettings(host=host, port=port)
        if shards:
            settings = ServerSettings(host=host, port=port, shards=shards)
    except ValidationError as error:
        first = error.errors()[0]
        name = "".join(f"{part}: " for part in first["loc"])
        raise UsageError(name + first["msg"].removeprefix("Value error, ")) from error
    logging.getLogger("uvicorn.error").setLevel(logging.INFO)
    with _listen(settings.host, settings.port) as listener:
        url = f"http://{_reached_at(host)}:{listener.getsockname()[1]}"
        if settings.shards:
            from api.gathering.app import create_gathering_app

            app = create_gathering_app(settings)
            _say(url, f"asks {settings.shards}", as_json=as_json)
            _run(app, settings, listener)
            return
        with engine.Engine.open(data, model=model, device=device) as opened:
            opened.load()
            app = create_app(opened, settings)
            opened.announce(url)
            _say(url, f"page · [bold]{url}/docs[/]  API", as_json=as_json)
            _run(app, settings, listener)


def _say(url: str, what: str, *, as_json: bool) -> None:
    if as_json:
        show.print_json({"url": url, "pid": os.getpid()})
    show.err.print(f"[bold]{url}[/]  {what} · Ctrl-C stops")


def _run(app: "FastAPI", settings: "ServerSettings", listener: socket.socket) -> None:
    from api.connection import server_of

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _already_heard)
    _take_turns()
    server_of(app, settings).run(sockets=[listener])


def _take_turns() -> None:
    """Let no thread keep the others waiting: neither by computing nor by collecting garbage.

    Queries run side by side, so each computes in one thread: several of each would wait for one
    another, and take the time of those that encode. What is loaded by now stays for good, hundreds
    of thousands of objects: a full collection that looked at them would stop every thread for a
    good part of a second.
    """
    import torch

    torch.set_num_threads(1)
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()


def _already_heard(_number: int, _frame: FrameType | None) -> None:
    """Let the store be closed: uvicorn sends a signal on once more when it has drained."""


def _reached_at(host: str) -> str:
    """Return what stands for an address in a URL of this machine."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{reached}]" if ":" in reached else reached


def _listen(host: str, port: int) -> socket.socket:
    """Take the address before it is announced; port 0 takes any that is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        why = str(error.strerror).partition(" (")[0].lower()
        free = "; --port 0 takes any that is free" if error.errno == errno.EADDRINUSE else ""
        raise UsageError(f"cannot listen on {host}, port {port}: {why}{free}") from error
