"""Whoever needs only the best rows need compute nothing else for the others."""

from dataclasses import replace

from sqlglot import exp

from engine.planner.logical import (
    Classify,
    Embed,
    Filter,
    Limit,
    Plan,
    Score,
    Spot,
    Tell,
    TellTexts,
    TextMatch,
    Top,
    VideoAnswer,
    transform,
)
from engine.planner.predicates import reads


def push_top_down(plan: Plan) -> Plan:
    """Move Top and Limit below what adds columns, and Top below a cut-off on its own column.

    Of a Limit's frames no more are embedded than it lets through, and what a filter drops.
    """
    return transform(plan, _push)


def _push(plan: Plan) -> Plan:
    if not isinstance(plan, (Top, Limit)):
        return plan
    source = plan.source
    if isinstance(plan, Limit) and isinstance(source, Embed) and source.count is None:
        return replace(plan, source=replace(source, count=plan.count))
    if isinstance(plan, Limit) and isinstance(source, Filter):
        frames, told = source.source, source.predicates
        if isinstance(frames, Embed) and frames.count is None:
            counted = replace(frames, count=plan.count, predicates=told)
            return replace(plan, source=replace(source, source=counted))
    if isinstance(source, (VideoAnswer, Tell, TellTexts)) or (
        isinstance(source, (Score, Classify, Spot, TextMatch)) and not _makes(source, plan)
    ):
        return replace(source, source=replace(plan, source=source.source))
    if isinstance(plan, Top) and isinstance(source, Score) and len(source.matches) > 1:
        own = tuple(match for match in source.matches if match.name == plan.column)
        others = tuple(match for match in source.matches if match.name != plan.column)
        return Score(replace(plan, source=Score(source.source, own)), others)
    if isinstance(plan, Top) and isinstance(source, Filter) and _are_cuts(source, plan.column):
        return replace(source, source=replace(plan, source=source.source))
    return plan


def _makes(source: Score | Classify | Spot | TextMatch, plan: Top | Limit) -> bool:
    made = source.matches if isinstance(source, Score) else (source,)
    return isinstance(plan, Top) and any(each.name == plan.column for each in made)


def _are_cuts(source: Filter, column: str) -> bool:
    """Whether all predicates keep exactly the rows above some value of the column."""
    return all(
        isinstance(part, (exp.GT, exp.GTE))
        and isinstance(part.this, exp.Column)
        and part.this.name == column
        and not reads(part.expression)
        for part in source.predicates
    )
