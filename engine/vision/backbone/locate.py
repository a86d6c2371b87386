"""Where a model's files lie: with the package, in a folder, or on the hub."""

import json
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from transformers import AutoConfig

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
    try:
        path = Path(snapshot_download(name, revision=revision, allow_patterns=_FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"model {name!r} cannot be fetched: {reason}") from error
    return path, path.name


def read_config(folder: Path) -> dict[str, Any]:
    """Return the complete configuration, defaults filled in."""
    raw = read_json(folder / "config.json")
    if raw.get("model_type") not in ("clip", "siglip"):
        raise ModelError(f"{folder}: model type {raw.get('model_type')!r}; allowed: clip, siglip")
    complete: dict[str, Any] = AutoConfig.from_pretrained(folder, trust_remote_code=False).to_dict()
    return complete


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
