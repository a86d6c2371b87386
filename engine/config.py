"""Settings, read once at the edge: arguments, then `DEJAVU_…` variables, then `dejavu.toml`."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from engine.errors import UsageError, unknown
from engine.from_file import FromFile
from engine.video.recorded import NamePattern
from engine.vision.strategies import check_strategy
from engine.zones import Zone, read_zones

_SIZE = r"^\d+(\.\d+)?\s?(KB|MB|GB|TB|KiB|MiB|GiB|TiB)$"


class Settings(FromFile):
    """What holds for a whole engine; each field also reads an environment variable."""

    model_config = SettingsConfigDict(env_prefix="DEJAVU_", extra="forbid", frozen=True)

    data: Path = Path("data")
    model: str = "builtin"
    action_model: str = Field("builtin", description="a video classifier, for ACTION")
    detector_model: str = Field("builtin", description="a detector, for DETECT and detections")
    looker_url: str | None = Field(
        None, description="of an OpenAI-compatible model that sees, up to /v1; ask and AI_FILTER"
    )
    looker_model: str = Field("default", description="its name there")
    looker_key: SecretStr | None = Field(None, description="sent to it as a bearer token")
    looker_seconds: float = Field(60.0, gt=0, le=3600, description="that it may take for a reply")
    looker_at_once: int = Field(4, ge=1, le=64, description="calls of it at a time, in SQL")
    looker_local: str | None = Field(
        None, description="a vision-language model to run here instead: a folder or an id"
    )
    device: str = "auto"
    revision: str | None = None
    precision: Literal["auto", "bf16", "fp8"] = Field(
        "auto", description="of the vision tower: bf16 on a GPU, float32 on a CPU, or as said"
    )

    fps: float = Field(2.0, gt=0, le=240, description="sampled frames per second of video")
    strategy: str = "auto"
    max_drift: Annotated[float, Field(gt=0, lt=1)] | Literal["none"] = Field(
        0.02, description="bound on the mean drift of each video; none: nothing is promised"
    )
    parts: Path | None = Field(None, description="gate limits or reuse modules: a file or a folder")
    decoder: Literal["auto", "pyav", "nvdec"] = "auto"
    decode_gate: bool = Field(
        False, description="leave groups of pictures undecoded where that keeps the bound"
    )
    devices: str = Field("", description="that ingests encode on: all GPUs, or a list with commas")
    embed_seconds: float = Field(
        30.0, gt=0, description="that one query may embed what is missing; ingest embeds all"
    )
    refine_seconds: float = Field(
        10.0, gt=0, description="that one query may make rows exact, unless it asks for exact ones"
    )

    recorded_pattern: str | None = Field(
        None, description="in a video's name, when it was recorded: %Y%m%d_%H%M%S"
    )

    gap_seconds: float = Field(1.0, ge=0, description="hits this close make one moment")
    near_duplicate: float = Field(
        0.995, gt=0, le=1, description="peaks more alike than this show the same picture"
    )
    false_match_rate: float = Field(0.01, gt=0, lt=0.5, description="of a bare CLIP_MATCH")
    exact: bool | None = Field(
        None, description="refine what could enter a top-k; true: cut-offs too, false: nothing"
    )

    zones: Annotated[tuple[tuple[str, Zone], ...], NoDecode] = Field(
        (), description="of pictures, by name, for inside(box, 'zone')"
    )

    sql_memory: str = Field("1GB", pattern=_SIZE)
    sql_result: str = Field("256MB", pattern=_SIZE)
    sql_seconds: float = Field(60.0, gt=0)
    sql_rows: int = Field(1_000_000, gt=0)
    sql_workers: int = Field(4, gt=0, description="statements that run at a time")
    threads: int = Field(2, gt=0, description="of DuckDB and of the decoder")

    @model_validator(mode="after")
    def _one_looker(self) -> Self:
        if self.looker_url is not None and self.looker_local is not None:
            raise ValueError("looker_url and looker_local name two models; allowed: one")
        return self

    @field_validator("looker_url")
    @classmethod
    def _is_url(cls, given: str | None) -> str | None:
        if given is not None and not re.match(r"https?://[^/]", given):
            raise ValueError("expected a URL, as http://localhost:8000/v1")
        return given

    @field_validator("strategy")
    @classmethod
    def _is_strategy(cls, given: str) -> str:
        try:
            check_strategy(given)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return given

    @field_validator("zones", mode="before")
    @classmethod
    def _are_zones(cls, given: Any) -> tuple[tuple[str, Zone], ...]:
        try:
            return read_zones(given)
        except UsageError as error:
            raise ValueError(str(error)) from error

    @field_validator("recorded_pattern")
    @classmethod
    def _is_pattern(cls, given: str | None) -> str | None:
        try:
            return None if given is None else NamePattern.read(given).text
        except UsageError as error:
            raise ValueError(str(error)) from error


def read_settings(given: Mapping[str, Any]) -> Settings:
    """Return the settings with what is given in the place of variables and defaults."""
    wrong = next((name for name in given if name not in Settings.model_fields), None)
    if wrong:
        raise UsageError(unknown("setting", wrong, Settings.model_fields))
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        own = first.get("ctx", {}).get("error")  # in words of ours
        said = str(own) if own else f"{first['msg'].lower()}, got {first['input']!r}"
        reason = f"setting {name}: {said}"
        raise UsageError(reason) from error
