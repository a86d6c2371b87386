"""`serve`: the HTTP API and the page."""

import logging
from typing import Annotated

import typer
import uvicorn
from pydantic import ValidationError

from api.app import create_app
from api.cli import flags, show
from api.config import ServerSettings
from engine.errors import UsageError
from engine.session import Engine


def register(parent: typer.Typer) -> None:
    """Add the command."""
    parent.command()(serve)


def serve(
    host: Annotated[str, typer.Option(envvar="DEJAVU_HOST", help="Address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="DEJAVU_PORT", help="Port.")] = 8000,
    data: flags.Data = flags.DATA,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
) -> None:
    """Serve the API, the page at / and its documentation at /docs."""
    try:
        settings = ServerSettings(host=host, port=port)
    except ValidationError as error:
        raise UsageError(error.errors()[0]["msg"].removeprefix("Value error, ")) from error
    logging.getLogger("uvicorn.error").setLevel(logging.INFO)
    with Engine.open(data, model=model, device=device) as engine:
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
        url = f"http://{shown}:{port}"
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(engine, settings),
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=10,
            )
        )
        engine.store.announce(url)
        show.err.print(f"[bold]{url}[/]  page · [bold]{url}/docs[/]  API · Ctrl-C stops")
        server.run()
