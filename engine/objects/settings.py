"""How objects elsewhere are read: `DEJAVU_OBJECT_…` variables, or the table `[object]`."""

from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import SettingsConfigDict

from engine.config_file import OBJECT, read_config
from engine.errors import UsageError
from engine.from_file import FromFile


class ObjectSettings(FromFile):
    """Bounds on requests and on what is kept of them; rights come from the environment."""

    model_config = SettingsConfigDict(env_prefix="DEJAVU_OBJECT_", extra="forbid", frozen=True)

    hosts: str = Field(
        "",
        description="that https:// is read from, with commas: HOST[:PORT], or *.HOST or * for "
        "public ones alone",
    )
    cache_bytes: int = Field(128 << 20, ge=1 << 20, description="of blocks, in memory")
    seconds: float = Field(12.0, gt=0, description="that one request may take")
    tries: int = Field(4, ge=1, description="of a request that did not come through")
    pause_seconds: float = Field(0.1, gt=0, description="before the second try; then twice it")

    @classmethod
    def _in_file(cls) -> dict[str, Any]:
        return read_config(cls.model_fields, table=OBJECT)

    @property
    def listed(self) -> tuple[str, ...]:
        """The hosts that are named."""
        return tuple(host.strip().lower() for host in self.hosts.split(",") if host.strip())


def object_settings() -> ObjectSettings:
    """Read the settings as they are now."""
    try:
        return ObjectSettings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        said = f"setting DEJAVU_OBJECT_{name}: {first['msg'].lower()}, got {first['input']!r}"
        raise UsageError(said) from error
