"""The commands, and what happens when one fails."""

import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from api.cli.commands import ByName
from engine import __version__
from engine.errors import EngineError, QueryError, UsageError

app = typer.Typer(
    name="dejavu-engine",
    cls=ByName,
    help="Ask hours of video questions, and pay for each frame's embedding once.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "DEJAVU"},
)
_INTERNAL = 70  # sysexits.h: an error of the program, not of what it was given


def _show_version(asked: bool) -> None:
    if asked:
        print(f"dejavu-engine {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Log, and show errors in full.")] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Set what holds for every command."""
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING,
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    for noisy in ("matplotlib", "urllib3", "filelock", "httpcore", "asyncio", "PIL", "libav"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def main() -> None:
    """Run a command; an error is one line, its kind is the exit code."""
    try:
        code = app(prog_name="dejavu-engine", standalone_mode=False)
    except EngineError as error:
        if _debug():
            raise
        print(f"error: {error}", file=sys.stderr)
        if isinstance(error, QueryError) and error.caret():
            print(error.caret(), file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except typer.Abort:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except TyperException as error:
        if said := error.format_message():  # nothing where the help stands there already
            print(f"error: {said}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()  # the reader has seen enough
        sys.exit(0)
    except Exception as error:  # the boundary: what nobody foresaw is told here
        if _debug():
            raise
        if isinstance(error, OSError) and error.strerror:  # of the machine: a full disk, a right
            place = f": {error.filename}" if error.filename else ""
            print(f"error: {error.strerror.lower()}{place}", file=sys.stderr)
            sys.exit(1)
        print(f"error: {_internal(error)}", file=sys.stderr)
        sys.exit(_INTERNAL)
    sys.exit(code if isinstance(code, int) else 0)


def _debug() -> bool:
    """Tell whether errors are wanted in full."""
    return "--debug" in sys.argv or os.environ.get("DEJAVU_DEBUG", "0") not in ("", "0", "false")


def _internal(error: Exception) -> str:
    """Say in a line what nobody foresaw, where it was raised, and how to see more."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    said = " ".join(f"{type(error).__name__}: {error}".split())
    place = f"{Path(last.filename).name}:{last.lineno}"
    return f"internal error, {said} ({place}); dejavu-engine --debug … or DEJAVU_DEBUG=1 shows more"
