"""Files that measurements wrote, looked at before they are drawn."""

import json
from pathlib import Path
from typing import Any

from engine.errors import UsageError, unknown

PICTURES = (".png", ".svg", ".pdf")


def read_saved(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None where the file cannot be read or holds something else."""
    try:
        told = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None


def holds_comparison(path: Path) -> bool:
    """Whether `bench strategies --out` wrote the file, by its form."""
    told = read_saved(path)
    data = None if told is None else told.get("data")
    return isinstance(data, dict) and "points" in data


def check_picture(path: Path) -> None:
    """Refuse what no picture can be written as, before anything is read."""
    if path.is_dir():
        raise UsageError(f"--picture {path} is a folder; allowed: a file, such as {path}/eval.png")
    if path.suffix.lower() not in PICTURES:
        raise UsageError(unknown("kind of picture", path.suffix or path.name, PICTURES))
