"""Settings of the server, read from `DEJAVU_…` variables and flags."""

import re
from typing import Any, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from api.keys import ApiKey, key_of, read_keys, read_limits
from engine.config_file import SERVER, read_config
from engine.errors import UsageError
from engine.from_file import FromFile
from engine.objects.address import Place, lies_in, whole
from engine.sharding.shards import read_shards

# a colon stands between roots, unless it belongs to an address
_ROOTS = re.compile(r"[a-z][a-z0-9]*://[^/:]+(?::\d+)?(?:/[^:]*)?|[^:]+")
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class ServerSettings(FromFile):
    """What a server allows, and whom."""

    model_config = SettingsConfigDict(env_prefix="DEJAVU_", extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    api_keys: str = Field(
        "", description="role:secret or name=role:secret, separated by commas; role read or write"
    )
    key_limits: str = Field(
        "",
        description="of each key, limit=number, or of one, name.limit=number, separated by commas: "
        "requests (a minute), concurrent, ingest_bytes, ingest_hours and model_calls (a day)",
    )
    video_roots: str = Field(
        "", description="that POST /videos may name: folders and s3://BUCKET/FOLDER, separated by :"
    )
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
    keep_jobs: int = Field(
        10_000, ge=100, description="jobs that have ended, and alerts: the newest of each kind stay"
    )
    webhook_hosts: str = Field(
        "", description="hosts, HOST or HOST:PORT, that webhooks may reach though not public"
    )
    keep_upload_seconds: float = Field(
        86400.0, ge=0, description="for a retry of its job; then one of no video goes"
    )
    clip_seconds: float = Field(120.0, gt=0, description="the longest clip that is cut")
    clip_cache_bytes: int = Field(1 << 30, ge=0, description="of clips that were cut and are kept")

    shards: str = Field(
        "", description="servers that are asked together, URL or NAME=URL, separated by commas"
    )
    shard_seconds: float = Field(
        20.0, gt=0, description="in which shards must answer; one that does not is named as lost"
    )

    @classmethod
    def _in_file(cls) -> dict[str, Any]:
        return read_config(cls.model_fields, table=SERVER)

    @field_validator("api_keys")
    @classmethod
    def _keys_have_roles(cls, value: str) -> str:
        read_keys(value)
        return value

    @field_validator("shards")
    @classmethod
    def _are_shards(cls, value: str) -> str:
        if value:
            try:
                read_shards(value)
            except UsageError as error:
                raise ValueError(str(error)) from error
        return value

    @model_validator(mode="after")
    def _limits_are_of_keys(self) -> Self:
        read_limits(self.key_limits, self.keys)
        return self

    @model_validator(mode="after")
    def _open_servers_need_keys(self) -> Self:
        if self.host not in LOOPBACK and not self.api_keys:
            raise ValueError(
                f"host {self.host} is open to others, so it needs keys: set DEJAVU_API_KEYS, or "
                f"bind one of {', '.join(LOOPBACK)}"
            )
        return self

    @property
    def keys(self) -> list[ApiKey]:
        """The keys, those without a name called by their place."""
        return read_keys(self.api_keys)

    def key_of(self, secret: str) -> ApiKey | None:
        """Return the key of a secret."""
        return key_of(self.keys, secret)

    def allows(self, place: Place) -> bool:
        """Whether a file, a folder or an object lies inside a root, wherever links lead."""
        return any(lies_in(whole(place), root) for root in self.roots)

    @property
    def hooks(self) -> frozenset[str]:
        """Hosts that webhooks may reach though they are not public."""
        return frozenset(host.strip() for host in self.webhook_hosts.split(",") if host.strip())

    @property
    def roots(self) -> list[Place]:
        """Folders and addresses that a request may name files in."""
        return [whole(found[0]) for found in _ROOTS.finditer(self.video_roots)]
