"""Responses of `/jobs`."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

Status = Literal["queued", "running", "ready", "failed", "cancelled"]


class JobOut(BaseModel):
    """Work in the background, as it stands."""

    id: str
    kind: str
    status: Status
    progress: dict[str, Any]
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
