"""Logical nodes to operators, one function per kind."""

from dataclasses import dataclass, field
from functools import singledispatch

import pyarrow as pa

from engine.operators.act import Acting
from engine.operators.answer import VideoAnswer
from engine.operators.base import Operator
from engine.operators.counted import Counted
from engine.operators.detecting import Detecting, Spotting
from engine.operators.embed import Embed
from engine.operators.exact import Exact
from engine.operators.filter import Filter
from engine.operators.judge import Judging
from engine.operators.limit import Limit
from engine.operators.moments import Moments
from engine.operators.nearest import NearFrames
from engine.operators.overlapping import Overlapping
from engine.operators.relational import Relational
from engine.operators.rows_of import RowsOf
from engine.operators.scan import Scan
from engine.operators.score import Score
from engine.operators.search import Search
from engine.operators.semi_join import SemiJoin
from engine.operators.spanning import Spanning
from engine.operators.telling import Pairing, Telling
from engine.operators.text_match import TextMatching
from engine.operators.timed import Timed
from engine.operators.top import Top
from engine.planner import logical
from engine.planner.logical import Plan
from engine.planner.plain import read_plain
from engine.planner.relations import schema_of
from engine.planner.steps import asked_by


@dataclass(slots=True)
class Build:
    """Builds operators in the order in which a plan is shown; `timed` ones report under it."""

    columns: pa.Schema
    max_rows: int
    timed: bool = False
    place: int = 0
    schemas: dict[str, pa.Schema] = field(default_factory=dict)  # of the inputs built so far
    asked: dict[int, str] = field(default_factory=dict)  # conditions to which a node's rows come

    def operator(self, plan: Plan) -> Operator:
        """Return the operator of a node."""
        place = self.place
        self.place += 1
        condition = self.asked.pop(id(plan), None)
        operator = lower(plan, self)
        if self.timed:
            operator = Timed(operator, place)
        return operator if condition is None else Counted(operator, condition, passed=False)


@singledispatch
def lower(plan: Plan, build: Build) -> Operator:  # noqa: ARG001
    """Return the operator of one node over the operators of what it reads."""
    raise TypeError(f"no operator for {type(plan).__name__}")


@lower.register
def _(plan: logical.Scan, build: Build) -> Operator:  # noqa: ARG001
    schema = schema_of(plan.relation, plan.columns, timed=plan.timed)
    return Scan(plan.relation, schema, _sql(plan.predicates))


@lower.register
def _(plan: logical.Embed, build: Build) -> Operator:
    return Embed(build.operator(plan.source), plan.count, _sql(plan.predicates))


@lower.register
def _(plan: logical.Filter, build: Build) -> Operator:
    asked = asked_by(plan)
    if asked is None:
        return Filter(build.operator(plan.source), _sql(plan.predicates))
    below = next(logical.children(plan.source))
    build.asked[id(below)] = asked.text
    found = Filter(build.operator(plan.source), _sql(plan.predicates))
    return Counted(found, asked.text, passed=True)


@lower.register
def _(plan: logical.SemiJoin, build: Build) -> Operator:
    source = build.operator(plan.source)
    return SemiJoin(source, build.operator(plan.other), plan.key, plan.other_key)


@lower.register
def _(plan: logical.Score, build: Build) -> Operator:
    matches = {match.name: match for match in plan.matches}
    cuts = tuple((matches[cut.name], cut.value) for cut in plan.cuts)
    ranges = {matches[name]: kept for name, kept in plan.ranges}
    source = build.operator(plan.source)
    return Score(source, tuple(matches.values()), cuts, plan.exact, ranges)


@lower.register
def _(plan: logical.Settle, build: Build) -> Operator:
    return Exact(build.operator(plan.source), plan.matches)


@lower.register
def _(plan: logical.Search, build: Build) -> Operator:
    return Search(build.operator(plan.source), plan.match, plan.count)


@lower.register
def _(plan: logical.Top, build: Build) -> Operator:
    return Top(build.operator(plan.source), plan.column, plan.count, plan.ties)


@lower.register
def _(plan: logical.Limit, build: Build) -> Operator:
    return Limit(build.operator(plan.source), plan.count)


@lower.register
def _(plan: logical.Moments, build: Build) -> Operator:
    told = (plan.gap_seconds, plan.min_score, plan.min_duration, plan.top_k, plan.apart)
    return Moments(build.operator(plan.source), plan.steps, *told)


@lower.register
def _(plan: logical.VideoAnswer, build: Build) -> Operator:
    return VideoAnswer(build.operator(plan.source), plan.name, plan.question, plan.choices)


@lower.register
def _(plan: logical.Classify, build: Build) -> Operator:
    return Acting(build.operator(plan.source), plan.name, plan.label)


@lower.register
def _(plan: logical.Nearest, build: Build) -> Operator:
    source = build.operator(plan.source)
    return NearFrames(source, build.operator(plan.other), plan.count, plan.apart)


@lower.register
def _(plan: logical.Detect, build: Build) -> Operator:
    return Detecting(build.operator(plan.source), plan.label, plan.min_score)


@lower.register
def _(plan: logical.Spot, build: Build) -> Operator:
    return Spotting(build.operator(plan.source), plan.name, plan.label)


@lower.register
def _(plan: logical.TextMatch, build: Build) -> Operator:
    return TextMatching(build.operator(plan.source), plan.name, plan.text)


@lower.register
def _(plan: logical.Judge, build: Build) -> Operator:
    source = build.operator(plan.source)
    return Judging(source, plan.name, plan.question, plan.targets, plan.max_calls)


@lower.register
def _(plan: logical.Tell, build: Build) -> Operator:
    return Telling(build.operator(plan.source), plan.name, plan.inquiry, plan.max_calls)


@lower.register
def _(plan: logical.TellTexts, build: Build) -> Operator:
    asked = (plan.texts, plan.question, plan.candidates, plan.max_calls)
    return Pairing(build.operator(plan.source), plan.name, *asked)


@lower.register
def _(plan: logical.Hold, build: Build) -> Operator:
    source = build.operator(plan.source)
    return Spanning(source, build.operator(plan.other), plan.open_end)


@lower.register
def _(plan: logical.Overlap, build: Build) -> Operator:
    source = build.operator(plan.source)
    return Overlapping(source, build.operator(plan.other), plan.open_end)


@lower.register
def _(plan: logical.Shared, build: Build) -> Operator:
    return RowsOf(plan.input, build.schemas[plan.input])


@lower.register
def _(plan: logical.Relational, build: Build) -> Operator:
    inputs = []
    for item in plan.inputs:
        operator = build.operator(item.plan)
        build.schemas[item.name] = operator.schema
        inputs.append((item.name, operator))
    plain = read_plain(plan.query, build.schemas)
    return Relational(plan.text, tuple(inputs), build.columns, build.max_rows, plain)


def _sql(predicates: logical.Predicates) -> tuple[str, ...]:
    return tuple(predicate.sql("duckdb") for predicate in predicates)
