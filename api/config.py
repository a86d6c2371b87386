"""Settings of the server, read from `DEJAVU_…` variables and flags."""

import hmac
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from engine.config import FromFile
from engine.config_file import SERVER, read_config

Role = Literal["read", "write"]
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class ServerSettings(FromFile):
    """What a server allows, and whom."""

    model_config = SettingsConfigDict(env_prefix="DEJAVU_", extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    api_keys: str = Field("", description="role:secret, separated by commas; role read or write")
    video_roots: str = Field("", description="folders that POST /videos may name, separated by :")
    max_connections: int = Field(512, gt=0, description="at a time; who is idle makes room")
    head_seconds: float = Field(10.0, gt=0, description="until a request's headers are there")
    body_seconds: float = Field(20.0, gt=0, description="in which some of a body must come")
    read_seconds: float = Field(60.0, gt=0, description="in which an answer must be read on")
    max_body_bytes: int = Field(1 << 20, gt=0, description="of every request but an upload")
    max_upload_bytes: int = Field(4 << 30, gt=0)
    max_queries: int = Field(4, gt=0, description="that run at a time; more wait, then get 503")
    query_wait_seconds: float = Field(2.0, ge=0)
    query_seconds: float = Field(60.0, gt=0)
    max_queued_jobs: int = Field(100, gt=0)
    webhook_hosts: str = Field(
        "", description="hosts, HOST or HOST:PORT, that webhooks may reach though not public"
    )
    keep_upload_seconds: float = Field(
        86400.0, ge=0, description="for a retry of its job; then one of no video goes"
    )
    clip_seconds: float = Field(120.0, gt=0, description="the longest clip that is cut")
    clip_cache_bytes: int = Field(1 << 30, ge=0, description="of clips that were cut and are kept")

    @classmethod
    def _in_file(cls) -> dict[str, Any]:
        return read_config(cls.model_fields, table=SERVER)

    @field_validator("api_keys")
    @classmethod
    def _keys_have_roles(cls, value: str) -> str:
        for key in filter(None, value.split(",")):
            role, _, secret = key.partition(":")
            if role not in ("read", "write") or len(secret) < 4:
                raise ValueError("expected read:SECRET or write:SECRET, each of 4 letters or more")
        return value

    @model_validator(mode="after")
    def _open_servers_need_keys(self) -> Self:
        if self.host not in LOOPBACK and not self.api_keys:
            raise ValueError(
                f"host {self.host} is open to others, so it needs keys: set DEJAVU_API_KEYS, or "
                f"bind one of {', '.join(LOOPBACK)}"
            )
        return self

    def role_of(self, secret: str) -> Role | None:
        """Return what a key allows; comparing takes as long for a wrong key as for a right one."""
        found: Role | None = None
        for key in filter(None, self.api_keys.split(",")):
            role, _, known = key.partition(":")
            if hmac.compare_digest(known.encode(), secret.encode()):
                found = "write" if role == "write" else "read"
        return found

    def allows(self, path: Path) -> bool:
        """Whether a file or folder lies inside a root, wherever links lead."""
        return any(path.resolve().is_relative_to(root) for root in self.roots)

    @property
    def hooks(self) -> frozenset[str]:
        """Hosts that webhooks may reach though they are not public."""
        return frozenset(host.strip() for host in self.webhook_hosts.split(",") if host.strip())

    @property
    def roots(self) -> list[Path]:
        """Folders that a request may name files in."""
        return [Path(root).resolve() for root in self.video_roots.split(":") if root]
