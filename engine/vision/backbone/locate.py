"""Where a model's files lie: with the package, in a folder, or on the hub."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from engine.errors import ModelError, unknown
from engine.vision.backbone.named import parse_name

BUILTIN = Path(__file__).parents[1] / "builtin"
HUB = "hf:"  # may stand before an id
OPEN_CLIP = "open_clip:"  # stands before ARCH/TAG, or a folder of such a checkpoint
TIMM = "timm:"  # stands before an architecture of timm's on the hub, an id, or a folder
_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]
_OPEN_CLIP_FILES = ["*.json", "open_clip_*.safetensors", "*.txt", "*.model"]


def locate(name: str, revision: str | None) -> tuple[Path, str]:
    """Return a model's folder and its commit; of the hub's models fetch what is needed.

    An id may be written `hf:ID` and `ID@REVISION`; `open_clip:ARCH/TAG` is one of its checkpoints.
    """
    named = parse_name(name)
    if named.is_url:
        raise ModelError("a URL gives vectors of pictures and texts, and nothing else")
    name = named.base
    if name.startswith(OPEN_CLIP):
        return _locate_open_clip(name.removeprefix(OPEN_CLIP), revision)
    if name == "builtin":
        return BUILTIN, "local"
    if name.startswith(TIMM):
        name = name.removeprefix(TIMM)
        if "/" not in name and not Path(name).expanduser().is_dir():
            name = f"timm/{name}"
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder, "local"
    hub_id, _, wanted = name.removeprefix(HUB).partition("@")
    if "/" not in hub_id or hub_id.startswith((".", "/", "~")):
        raise ModelError(
            f"unknown model {name!r}; allowed: builtin, a folder in Hugging Face's or open_clip's "
            "format, an id such as openai/clip-vit-base-patch32, open_clip:ARCH/TAG, or timm:NAME"
        )
    path = _fetch(hub_id, _one(name, wanted, revision), _FILES)
    return path, path.name


def _locate_open_clip(name: str, revision: str | None) -> tuple[Path, str]:
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder, "local"
    named, _, wanted = name.partition("@")
    known = json.loads(Path(__file__).with_name("open_clip.json").read_text())
    ids = {f"{arch}/{tag}": hub_id for arch, tags in known.items() for tag, hub_id in tags.items()}
    if named not in ids:
        raise ModelError(
            unknown("open_clip checkpoint", named, ids)
            if folder.parts[:1] != ("/",)
            else f"no folder {name}"
        )
    path = _fetch(ids[named], _one(name, wanted, revision), _OPEN_CLIP_FILES)
    return path, path.name


def _one(name: str, wanted: str, revision: str | None) -> str | None:
    """Return the revision that is meant."""
    if wanted and revision and wanted != revision:
        raise ModelError(f"model {name!r} and revision {revision!r} name two; allowed: one")
    return wanted or revision


def short_name(name: str) -> str:
    """Return what a model's space is called: its folder's name, or its id's without the owner."""
    named = parse_name(name)
    if named.is_url:
        return re.sub(r"[^\w.-]+", "-", named.base.partition("#")[2])
    name = named.base
    bare = name.removeprefix(OPEN_CLIP).removeprefix(TIMM)
    if not Path(bare).expanduser().is_dir():
        bare = bare.removeprefix(HUB).partition("@")[0]
        if name.startswith(OPEN_CLIP):
            bare = bare.replace("/", "-")
    return re.sub(r"[^\w.-]+", "-", Path(bare).name)


def fingerprint(name: str, revision: str | None) -> str:
    """Hash what tells a model from others: of its files the names, sizes and times alone."""
    named = parse_name(name)
    if named.is_url:
        return hashlib.sha256(f"{named.base} {named.size}{named.identity}".encode()).hexdigest()
    folder, _ = locate(name, revision)
    files = sorted(path for pattern in _FILES for path in folder.glob(pattern))
    stats = [(path.name, path.stat()) for path in files]
    told = [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats]
    return hashlib.sha256(
        "\n".join([str(folder.resolve()) + named.identity, *told]).encode()
    ).hexdigest()


def _fetch(name: str, revision: str | None, files: list[str]) -> Path:
    from huggingface_hub import snapshot_download  # takes as long as all else of a small command
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # of whichever client
        GatedRepoError,
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    said = f"model {name!r} cannot be fetched"
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=files))
    except GatedRepoError as error:
        raise ModelError(
            f"{said}: it is gated; accept its terms at https://huggingface.co/{name} and give a"
            " token in HF_TOKEN"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"{said}: the hub has no such model, or it is private and HF_TOKEN does not open it"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(f"{said}: it has no revision {revision!r}") from error
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"{said}: the hub cannot be reached and the model is not whole in the cache; what was"
            " fetched is kept, and the same command goes on there; a folder needs no network"
        ) from error
    except (HTTPError, HFValidationError, OSError, RuntimeError) as error:
        raise ModelError(f"{said}: {' '.join(str(error).split())}") from error


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
