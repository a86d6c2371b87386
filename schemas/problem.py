"""What every error of the API looks like (RFC 9457)."""

from pydantic import BaseModel, ConfigDict, Field


class Fault(BaseModel):
    """One field of a request that is not valid."""

    model_config = ConfigDict(extra="forbid")

    at: str = Field(description="where in the request; empty: the whole of it")
    problem: str


class Problem(BaseModel):
    """An error."""

    model_config = ConfigDict(extra="forbid")

    type: str = "about:blank"
    title: str = Field(description="the status in words")
    status: int
    detail: str = Field(description="one line: what was given, what is allowed, the nearest name")
    kind: str = Field(description="the class that the engine raises: UsageError, …")
    instance: str = Field(description="the path that was asked for")
    request_id: str = Field(description="the same as the header X-Request-Id")
    position: int | None = Field(None, description="of a statement: the letter where it is wrong")
    caret: str | None = Field(None, description="of a statement: it, with a caret below the place")
    limit: str | None = Field(None, description="of a LimitError: time, memory, busy, …")
    errors: list[Fault] | None = Field(None, description="of a request that is not valid")
