"""Keys: who they are called, what they allow, and how much of it."""

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from engine.errors import unknown

Role = Literal["read", "write"]
LIMITS = ("requests", "concurrent", "ingest_bytes", "ingest_hours", "model_calls")
READ_CALLS = 1000.0  # of models that see a day, of a key that may only read, where none is said
_KEY = re.compile(r"(?:(?P<name>[a-z][a-z0-9_-]{0,31})=)?(?P<role>read|write):(?P<secret>.{4,})")
_LIMIT = re.compile(rf"(?:(?P<key>[a-z0-9_-]+)\.)?(?P<name>{'|'.join(LIMITS)})=(?P<most>[\d._e]+)")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key: what it is called where its secret is not to be told, and what it allows."""

    name: str
    role: Role
    secret: str


def read_keys(given: str) -> list[ApiKey]:
    """Read `[NAME=]ROLE:SECRET` by commas; one without a name is called by role and place."""
    keys = list[ApiKey]()
    for place, each in enumerate(filter(None, given.split(",")), start=1):
        found = _KEY.fullmatch(each)
        if found is None:
            raise ValueError("expected read:SECRET or write:SECRET, each of 4 letters or more")
        role: Role = "write" if found["role"] == "write" else "read"
        keys.append(ApiKey(found["name"] or f"{role}-{place}", role, found["secret"]))
        if keys[-1].name in [key.name for key in keys[:-1]]:
            raise ValueError(f"two keys are called {keys[-1].name}")
    return keys


def key_of(keys: Sequence[ApiKey], secret: str) -> ApiKey | None:
    """Return the key of a secret; comparing takes as long for a wrong one as a right one."""
    found: ApiKey | None = None
    for key in keys:
        if hmac.compare_digest(key.secret.encode(), secret.encode()):
            found = key
    return found


def read_limits(given: str, keys: Sequence[ApiKey]) -> dict[str, dict[str, float]]:
    """Read `[NAME.]LIMIT=NUMBER` by commas: of each key, its own before those of every key."""
    every, own = dict[str, float](), dict[str, dict[str, float]]()
    for each in (part.strip() for part in given.split(",") if part.strip()):
        found = _LIMIT.fullmatch(each)
        most = _number(found["most"]) if found else 0.0
        if found is None or most <= 0:
            raise ValueError(
                f"key_limits {each[:80]!r}; expected [NAME.]LIMIT=NUMBER, more than 0, with one of"
                f" {', '.join(LIMITS)}"
            )
        names = [key.name for key in keys]
        if not names:
            raise ValueError("key_limits without api_keys: nobody is told from another")
        if found["key"] is not None and found["key"] not in names:
            raise ValueError(f"key_limits: {unknown('key', found['key'], names)}")
        (every if found["key"] is None else own.setdefault(found["key"], {}))[found["name"]] = most
    free = {"write": dict[str, float](), "read": {"model_calls": READ_CALLS}}
    return {key.name: free[key.role] | every | own.get(key.name, {}) for key in keys}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
