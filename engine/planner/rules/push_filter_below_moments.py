"""Moments of videos that nobody asks about are not looked for."""

from dataclasses import replace

from engine.planner.logical import Filter, Moments, Plan, transform
from engine.planner.predicates import reads, split


def push_filter_below_moments(plan: Plan) -> Plan:
    """Move predicates on `video_id` alone below Moments."""
    return transform(plan, _push)


def _push(plan: Plan) -> Plan:
    if not isinstance(plan, Filter) or not isinstance(plan.source, Moments):
        return plan
    if plan.source.top_k is not None:
        return plan  # of fewer videos others would be the best
    below, above = split(plan.predicates, lambda predicate: reads(predicate) == {"video_id"})
    if not below:
        return plan
    moments = replace(plan.source, source=Filter(plan.source.source, below))
    return Filter(moments, above) if above else moments
