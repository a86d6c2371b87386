"""The commands by name: what one needs is imported when it is asked for."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from engine.config_file import SERVER, config_path, read_config

COMMANDS: Mapping[str, str] = {  # name → where it is defined, in the order of the help
    "demo": "api.cli.demo:demo",
    "ingest": "api.cli.ingest:ingest",
    "register": "api.cli.ingest:register",
    "deepen": "api.cli.ingest:deepen",
    "live": "api.cli.live:live",
    "query": "api.cli.ask:query",
    "ask": "api.cli.answer:ask",
    "sql": "api.cli.ask:sql",
    "clip": "api.cli.footage:clip",
    "frames": "api.cli.footage:frames",
    "sheet": "api.cli.footage:sheet",
    "videos": "api.cli.store:videos",
    "transcripts": "api.cli.transcripts:transcripts",
    "index": "api.cli.store:index",
    "spaces": "api.cli.store:spaces",
    "models": "api.cli.models:app",
    "jobs": "api.cli.store:jobs",
    "store": "api.cli.folder:store",
    "serve": "api.cli.serve:serve",
    "mcp": "api.cli.mcp:mcp",
    "world": "api.cli.world:app",
    "train": "api.cli.train:app",
    "calibrate": "api.cli.train:calibrate",
    "eval": "api.cli.evaluate:evaluate",
    "dataset": "api.cli.dataset:app",
    "plot": "api.cli.plot:plot",
    "bench": "api.cli.bench:app",
    "checkpoint": "api.cli.checkpoint:app",
    "doctor": "api.cli.doctor:doctor",
}


class ByName(TyperGroup):
    """A group that imports a command's module when its name is given; its help imports all."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Commands()  # type: ignore[assignment]  # nothing is ever added


class _Commands(Mapping[str, Any]):
    """Commands by name, each built when it is first looked up."""

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            self._built[name] = _load(name)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _load(name: str) -> Any:
    command = _build(name)
    if config_path() is not None:
        _set_defaults(command, _configured())
    return command


def _configured() -> dict[str, Any]:
    """Return what `dejavu.toml` sets, all of it checked."""
    from api.config import ServerSettings  # pydantic's settings take as long as all else here
    from engine.config import Settings

    own = read_config(Settings.model_fields)
    return own | read_config(ServerSettings.model_fields, table=SERVER)


def _set_defaults(command: Any, given: Mapping[str, Any]) -> None:
    """Let flags that read a variable stand, without one, at what the file says."""
    for each in getattr(command, "commands", {}).values():
        _set_defaults(each, given)
    for parameter in command.params:
        name = str(parameter.envvar or "").removeprefix("DEJAVU_").lower()
        if name in given:
            parameter.default = given[name]


def _build(name: str) -> Any:
    module, _, attribute = COMMANDS[name].partition(":")  # KeyError: there is no such command
    defined = getattr(import_module(module), attribute)
    if isinstance(defined, typer.Typer):
        group = get_group(defined)
        group.name = name
        return group
    alone = typer.Typer(add_completion=False, rich_markup_mode="rich")
    alone.command(name)(defined)
    return get_command(alone)
