"""Requests and responses of `POST /ask`."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from schemas.query import CostOut, MomentOut, Strict, example


class ForecastRequest(Strict):
    """A question, before anything is looked at for it."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra=example(question="What colour is the star?", videos=["holiday*"]),
    )

    question: str = Field(min_length=1, max_length=2000, description="what to answer")
    choices: list[str] | None = Field(
        None, min_length=2, max_length=50, description="answers to choose from"
    )
    videos: list[Annotated[int, Field(ge=0, lt=2**63)] | str] | None = Field(
        None, max_length=1000, description="ids, names or globs; null: all, or those cited last"
    )
    where: str | None = Field(
        None, min_length=1, max_length=2000, description="a condition on columns of videos, in SQL"
    )
    max_calls: int | None = Field(None, ge=1, le=100, description="of a model at most; null: 8")
    max_frames: int | None = Field(
        None, ge=1, le=500, description="that a model is shown at first; null: 24"
    )


class AskRequest(ForecastRequest):
    """A question to answer."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra=example(question="What colour is the star?", choices=["red", "blue"]),
    )

    answer_schema: dict[str, Any] | None = Field(
        None, description="JSON Schema that the answer has to fit; of a model that sees"
    )
    session: str | None = Field(
        None, max_length=100, description="of an earlier answer, to ask on; null: a new one"
    )


class OutlookOut(BaseModel):
    """Where is looked for an answer, and what that costs at most."""

    model_config = ConfigDict(
        json_schema_extra=example(moments=[], looker="builtin", cost={"calls": 0, "frames": 32})
    )

    moments: list[MomentOut] = Field(description="the likeliest first")
    looker: str = Field(description="what looks: builtin, or a model")
    cost: CostOut = Field(description="at most")
