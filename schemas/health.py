"""Responses about the server and who asks."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.query import example


class AliveOut(BaseModel):
    """The process answers."""

    model_config = ConfigDict(json_schema_extra=example(status="alive"))

    status: Literal["alive"] = "alive"


class ReadyOut(BaseModel):
    """The model and the index are loaded, and work is taken."""

    model_config = ConfigDict(
        json_schema_extra=example(status="ready", model="builtin-9b2a7dbeacbb", device="cpu")
    )

    status: Literal["ready"] = "ready"
    model: str = Field(description="the embedding space of the server's model")
    device: str = Field(description="where the model computes")


class MeOut(BaseModel):
    """What the key that was sent allows."""

    model_config = ConfigDict(json_schema_extra=example(role="read"))

    role: Literal["read", "write"] = Field(description="read looks, write also changes")
