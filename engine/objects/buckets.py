"""Objects in buckets, by obstore; rights and endpoints are what its environment says."""

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, timedelta
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from engine.errors import EngineError, UsageError
from engine.objects.address import Address
from engine.objects.faults import fault_of
from engine.objects.head import ObjectState
from engine.objects.settings import ObjectSettings, object_settings

_CLASSES = {"s3": "S3Store", "gs": "GCSStore", "az": "AzureStore"}
_NEEDED = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION"),
    "gs": ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_APPLICATION_CREDENTIALS"),
    "az": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"),
}
_VARIABLES = ("AWS_", "GOOGLE_", "AZURE_", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
_CHUNK_BYTES = 5 << 20  # the least that S3 takes as a part of an object
_PART_BYTES = 4 << 20  # of a download, in memory at a time
_PATIENCE = 5  # times as long as to be read may what is sent take


def load() -> Any:
    """Import the library; UsageError says how to get it."""
    try:
        return import_module("obstore")
    except ImportError as error:
        said = "buckets need obstore, which is not installed: pip install 'dejavu-engine[s3]'"
        raise UsageError(said) from error


def head(address: Address) -> ObjectState:
    """Return what is known of an object."""
    library = load()
    try:
        return _head(library.head(_store(address), address.key))
    except Exception as error:  # noqa: BLE001  # the library raises its own, and Python's
        raise _fault(_told_why(address, error), address, "read") from None


def read(address: Address, start: int, stop: int, known: ObjectState) -> bytes:
    """Return a part of an object, as long as it is the one that is known."""
    library = load()
    options = {"range": (start, stop), "if_match": known.etag}
    try:
        return bytes(library.get(_store(address), address.key, options=options).bytes())
    except Exception as error:  # noqa: BLE001
        raise _fault(error, address, "read") from None


def listing(address: Address) -> Iterator[tuple[Address, ObjectState]]:
    """Yield all objects below an address, by name; a folder's own marks are left out."""
    library = load()
    prefix = f"{address.key.rstrip('/')}/" if address.key.strip("/") else None
    try:
        for chunk in library.list(_store(address), prefix, chunk_size=1000):
            for each in chunk:
                yield address.below(each["path"]), _head(each)
    except Exception as error:  # noqa: BLE001
        raise _fault(error, address, "list") from None


def put(address: Address, content: bytes | Path, *, over: ObjectState | str | None = "any") -> None:
    """Write an object, all or nothing of it.

    With `over` None only where there is none, with a head only over that one: else
    ObjectExistsError, and nothing is written.
    """
    library = load()
    mode: Any = "overwrite" if over == "any" else "create"
    if isinstance(over, ObjectState):
        mode = {"e_tag": over.etag}
    store = _store(address, patience=_PATIENCE)
    whole = None if over == "any" else False  # in parts there are no conditions
    try:
        library.put(
            store, address.key, content, mode=mode, use_multipart=whole, chunk_size=_CHUNK_BYTES,
            max_concurrency=4,
        )  # fmt: skip
    except Exception as error:  # noqa: BLE001
        raise _fault(error, address, "write") from None


def delete(addresses: list[Address]) -> None:
    """Delete objects of one bucket; one that is gone is none the less deleted."""
    if not addresses:
        return
    library = load()
    try:
        library.delete(_store(addresses[0]), [each.key for each in addresses])
    except FileNotFoundError:
        return
    except Exception as error:  # noqa: BLE001
        raise _fault(error, addresses[0], "delete") from None


def read_all(address: Address) -> bytes:
    """Return a small object as a whole."""
    known = head(address)
    return read(address, 0, known.size, known) if known.size else b""


def download(address: Address, known: ObjectState, target: Path) -> str:
    """Write all of an object into a file, some at a time; return the SHA-256 of what came."""
    digest, at = hashlib.sha256(), 0
    with target.open("wb") as file:
        while at < known.size:
            part = read(address, at, min(at + _PART_BYTES, known.size), known)
            digest.update(part)
            file.write(part)
            at += len(part)
    return digest.hexdigest()


def _head(told: Any) -> ObjectState:
    modified = told["last_modified"].astimezone(UTC).isoformat()
    return ObjectState(told["size"], told["e_tag"], modified)


def _told_why(address: Address, error: Exception) -> Exception:
    """Ask for a byte where the answer has no body: what refuses then names its reason."""
    try:
        load().get(_store(address), address.key, options={"range": (0, 1)}).bytes()
    except Exception as other:  # noqa: BLE001
        return other
    return error


def _fault(error: Exception, address: Address, verb: str) -> EngineError:
    if isinstance(error, EngineError):  # in words of ours already
        return error
    if isinstance(error, ValueError) and type(error) is ValueError:  # a key that cannot be one
        return UsageError(f"address {address} is none that a bucket has")
    settings = object_settings()
    return fault_of(error, address, verb, settings.tries, settings.seconds)


def _store(address: Address, patience: int = 1) -> Any:
    """Return the client of a bucket, as settings and environment are now."""
    known = tuple(sorted(each for each in os.environ.items() if each[0].startswith(_VARIABLES)))
    return _connected(address.scheme, address.bucket, object_settings(), patience, known)


@lru_cache(maxsize=64)
def _connected(
    scheme: str,
    bucket: str,
    settings: ObjectSettings,
    patience: int,
    environment: tuple[tuple[str, str], ...],
) -> Any:
    seconds = settings.seconds * patience
    plain = dict(environment).get("AWS_ENDPOINT_URL", "").startswith("http://")
    options = {
        "timeout": timedelta(seconds=seconds),
        "connect_timeout": timedelta(seconds=min(5.0, seconds)),
        "user_agent": "dejavu-engine",
        **({"allow_http": True} if scheme == "s3" and plain else {}),
    }
    pause = timedelta(seconds=settings.pause_seconds)
    retry = {
        "max_retries": settings.tries - 1,
        "retry_timeout": timedelta(seconds=(seconds + settings.pause_seconds) * settings.tries),
        "backoff": {"init_backoff": pause, "max_backoff": 20 * pause, "base": 2},
    }
    kind = getattr(import_module("obstore.store"), _CLASSES[scheme])
    try:
        return kind(bucket, client_options=options, retry_config=retry)
    except Exception as error:  # noqa: BLE001  # what it says may repeat what it was given
        first = ", ".join(_NEEDED[scheme])
        said = f"{scheme}://{bucket}: what the environment has for it lacks something, or is wrong"
        raise UsageError(f"{said} ({type(error).__name__}); look at {first}") from None
