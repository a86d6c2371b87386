"""What EXPLAIN (FORMAT JSON) gives."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from schemas.query import example

_SHARE: dict[str, Any] = {"value": 0.02, "basis": "as of 100 rows before"}
_RANKED: dict[str, Any] = {
    "text": "VIDEO_QA('what?').answer = 'a dog'",
    "seconds": 0.049,
    "share": _SHARE,
    "rank": 0.05,
}


class EstimateOut(BaseModel):
    """What an operator by itself was expected to give and take, before anything ran."""

    rows: float
    seconds: float
    note: str = Field(description="what the estimate rests on, where that is worth saying")


class PassedOut(BaseModel):
    """How many rows came to a condition on what was computed for them, and how many passed."""

    model_config = ConfigDict(json_schema_extra=example(rows=100, passed=1))

    rows: int
    passed: int


class RunOut(BaseModel):
    """What an operator did; null for one that nothing was read from."""

    rows: int
    batches: int
    tested: PassedOut | None = Field(description="of a condition on what is computed below it")
    seconds: float = Field(description="those of the operators below it included")
    own_seconds: float = Field(description="its own alone")


class ShareOut(BaseModel):
    """The part of the rows that is expected to pass a condition."""

    model_config = ConfigDict(json_schema_extra=example(**_SHARE))

    value: float
    basis: str = Field(description="what it rests on: rows before, stored rows, or nothing")


class RankedOut(BaseModel):
    """What is dear, in its place: cost over the share of rows that it drops."""

    model_config = ConfigDict(json_schema_extra=example(**_RANKED))

    text: str = Field(description="the condition, or what is computed where nothing is asked of it")
    seconds: float = Field(description="that it takes for a row")
    share: ShareOut | None = Field(description="null where nothing is asked of what is computed")
    rank: float | None = Field(description="seconds / (1 - share); null where no row is dropped")


class PlanNodeOut(BaseModel):
    """One operator with those that it reads."""

    operator: str = Field(description="its kind, as Scan, Filter or Search")
    detail: str = Field(description="its line in the text of EXPLAIN")
    input: str | None = Field(description="the name under which the statement's rest reads it")
    estimated: EstimateOut = Field(description="before the statement ran")
    actual: RunOut | None = Field(description="with ANALYZE alone")
    children: list["PlanNodeOut"] = Field(description="the first passes its rows on")


_LEAF: dict[str, Any] = {
    "operator": "Scan",
    "detail": "Scan frames where seconds < 9",
    "input": "frames_1",
    "estimated": {"rows": 9, "seconds": 0.002, "note": ""},
    "actual": None,
    "children": [],
}


class ExplainOut(BaseModel):
    """A plan: its operators, the rules that made it, and what was not done and why."""

    model_config = ConfigDict(
        json_schema_extra=example(
            plan={**_LEAF, "operator": "Relational", "input": None, "children": [_LEAF]},
            rules=["push_filter_into_scan"],
            order={},
            not_done=["not pushed: random() < 0.5: it is not decided row by row"],
            estimated_seconds=0.004,
            took_seconds=None,
            work=None,
        )
    )

    plan: PlanNodeOut = Field(description="the tree of operators")
    rules: list[str] = Field(description="those that fired, in their order")
    order: dict[str, list[RankedOut]] = Field(
        description="by input, where what is dear could be computed in another order: why in this"
    )
    not_done: list[str] = Field(description="what was not pushed down, where no index is used: why")
    estimated_seconds: float = Field(description="all operators together")
    took_seconds: float | None = Field(description="with ANALYZE alone")
    work: dict[str, Any] | None = Field(
        description="with ANALYZE alone: how rows were found (index), frames embedded, rows refined"
    )
