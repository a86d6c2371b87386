"""Where a model's files lie: with the package, in a folder, or on the hub."""

import hashlib
import json
from pathlib import Path
from typing import Any

from engine.errors import ModelError

BUILTIN = Path(__file__).parents[1] / "builtin"
_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]


def locate(name: str, revision: str | None) -> tuple[Path, str]:
    """Return a model's folder and its commit; of the hub's models fetch what is needed."""
    if name == "builtin":
        return BUILTIN, "local"
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder, "local"
    if "/" not in name or name.startswith((".", "/", "~")):
        raise ModelError(
            f"unknown model {name!r}; allowed: builtin, a folder in Hugging Face's format, or an "
            "id such as openai/clip-vit-base-patch32"
        )
    path = _fetch(name, revision)
    return path, path.name


def fingerprint(folder: Path) -> str:
    """Hash the names, sizes and times of a folder's files; their content is not read."""
    files = sorted(path for pattern in _FILES for path in folder.glob(pattern))
    stats = [(path.name, path.stat()) for path in files]
    told = [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats]
    return hashlib.sha256("\n".join([str(folder.resolve()), *told]).encode()).hexdigest()


def _fetch(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download  # takes as long as all else of a small command
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"model {name!r} cannot be fetched: {reason}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ModelError(f"no {path.name} in {path.parent}") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} holds no JSON object")
    return value
