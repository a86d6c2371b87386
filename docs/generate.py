"""Pages that the site makes of the code itself: every flag, every setting."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.main import get_command

from api.cli.main import app
from api.config import ServerSettings
from engine.config import Settings


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages (a hook of mkdocs)."""
    for name, text in (("flags", _flags()), ("settings", _settings())):
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def on_post_build(config: MkDocsConfig) -> None:
    """Let the list for language models name the pages as they are on the site (a hook)."""
    listed = Path(config.site_dir) / "llms.txt"
    listed.write_text(site_links(listed.read_text()))


def site_links(text: str) -> str:
    """Make links to pages of the repository links to those of the site."""
    return re.sub(r"\]\(([\w/-]+)\.md\)", r"](\1.html)", text)


def _flags() -> str:
    """List every command with its arguments and flags."""
    return "\n".join(
        ["# Every flag", "", "As `--help` says it.", "", *_command(get_command(app), "")]
    )


def _command(command: Any, name: str) -> Iterator[str]:
    below = getattr(command, "commands", None)
    if name:
        yield from (f"## {name}", "", (command.help or "").strip(), "")
    rows = [row for parameter in command.params if (row := _parameter(parameter))]
    if rows:
        yield from ("| | default | |", "|---|---|---|", *rows, "")
    for each in below or ():
        yield from _command(command.get_command(None, each), f"{name} {each}".strip())


def _parameter(parameter: Any) -> str | None:
    if getattr(parameter, "hidden", False):
        return None
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    default = parameter.default
    shown = "" if default is None or callable(default) or default == [] else f"`{default}`"
    said = " ".join((getattr(parameter, "help", "") or "").split())
    return f"| {names} | {shown} | {said} |".replace("\n", " ")


def _settings() -> str:
    """List every setting with its variable, default and meaning."""
    lines = [
        "# Settings",
        "",
        "Keyword arguments of `Engine.open` come before variables, variables",
    ]
    lines += ["before `dejavu.toml`, and that before defaults.", ""]
    for title, model in (("Engine", Settings), ("Server", ServerSettings)):
        lines += [f"## {title}", "", "| variable | default | |", "|---|---|---|"]
        for name, field in model.model_fields.items():
            said = " ".join((field.description or "").split())
            lines.append(f"| `DEJAVU_{name.upper()}` | `{field.default!r}` | {said} |")
        lines.append("")
    return "\n".join(lines)
