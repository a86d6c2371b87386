"""The command line: `dejavu-engine`."""

from api.cli.main import main as main

__all__ = ["main"]
