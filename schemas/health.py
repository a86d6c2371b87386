"""Responses about the server and who asks."""

from typing import Literal

from pydantic import BaseModel, Field


class AliveOut(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class ReadyOut(BaseModel):
    """The model and the index are loaded, and work is taken."""

    status: Literal["ready"] = "ready"
    model: str = Field(description="the embedding space of the server's model")
    device: str


class MeOut(BaseModel):
    """What the key that was sent allows."""

    role: Literal["read", "write"] = Field(description="read looks, write also changes")
