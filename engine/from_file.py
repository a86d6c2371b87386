"""Settings read from arguments, then `DEJAVU_…` variables, then `dejavu.toml`."""

from typing import Any

from pydantic_settings import BaseSettings, InitSettingsSource
from pydantic_settings import PydanticBaseSettingsSource as Source

from engine.config_file import read_config


class FromFile(BaseSettings):
    """Settings that also read their part of `dejavu.toml`."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: Source,
        env_settings: Source,
        *_unused: Source,
        **_others: Source,
    ) -> tuple[Source, ...]:
        """Take arguments before variables, and variables before the file."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, cls._in_file())

    @classmethod
    def _in_file(cls) -> dict[str, Any]:
        return read_config(cls.model_fields)
