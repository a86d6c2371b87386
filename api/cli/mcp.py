"""`mcp`: the store for agents."""

import importlib.util

import engine
from api.cli import flags
from api.cli.connect import check_folder, find_server
from engine.errors import UsageError


def mcp(
    data: flags.Data = flags.DATA,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
) -> None:
    """Serve the store to agents on stdin and stdout, by the Model Context Protocol; read-only."""
    if importlib.util.find_spec("mcp") is None:
        raise UsageError("the package mcp is not installed; pip install 'dejavu-engine[mcp]'")
    from api.mcp import build_server

    check_folder(data)
    held = find_server(data) or engine.Engine.open(data, model, device, read_only=True)
    with held as opened:
        build_server(opened).run("stdio")
