"""Requests of `/columns`: what users say of videos."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from schemas.query import Strict, example

Kind = Literal["text", "number", "bool", "timestamp"]
Cell = Annotated[str, Field(max_length=2000)] | bool | float | None


class CellsIn(Strict):
    """Values for columns of some videos."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra=example(
            videos=["gate-*"],
            values={"camera": "north", "recorded_at": "2026-03-01T12:00:00Z"},
            kinds={"camera": "text"},
        ),
    )

    videos: list[Annotated[int, Field(ge=0, lt=2**63)] | str] = Field(
        min_length=1, max_length=1000, description="ids, names or globs"
    )
    values: dict[str, Cell] = Field(
        min_length=1, max_length=64, description="by column; null takes a value away"
    )
    kinds: dict[str, Kind] = Field(
        default_factory=dict, description="of columns that are new, where a value does not tell"
    )


def as_json(values: dict[str, Any]) -> dict[str, Any]:
    """Return cells as JSON has them: instants in UTC and with their zone."""
    return {
        name: f"{value.isoformat()}Z" if isinstance(value, datetime) else value
        for name, value in values.items()
    }
