"""What a route of a server of shards may ask for."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.turns import Turns
from engine.sharding.shards import Shards


@dataclass(frozen=True, slots=True)
class Gathering:
    """The shards, and the turns in which they are asked."""

    shards: Shards
    queries: Turns
    relays: Turns

    def close(self) -> None:
        """Start nothing more."""
        self.queries.close()
        self.relays.close()
        self.shards.close()


def get_gathering(request: Request) -> Gathering:
    """Return the shards of this server."""
    found: Gathering = request.app.state.gathering
    return found


def get_key(request: Request) -> str | None:
    """Return the caller's key, which is passed on to the shards."""
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() or None if kind.lower() == "bearer" else None


GatheringDep = Annotated[Gathering, Depends(get_gathering)]
CallerKey = Annotated[str | None, Depends(get_key)]
