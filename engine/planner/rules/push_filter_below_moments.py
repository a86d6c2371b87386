"""Moments of videos that nobody asks about are not looked for, nor what is near their frames."""

from dataclasses import replace

from engine.planner.logical import Filter, Moments, Nearest, Plan, transform
from engine.planner.predicates import reads, split

_OF_FRAMES = {"video_id", "frame", "seconds"}


def push_filter_below_moments(plan: Plan) -> Plan:
    """Move predicates on `video_id` alone below Moments, on the frames' own columns below Nearest.

    Nothing goes below the best of all moments: of fewer videos others would be the best.
    """
    return transform(plan, _push)


def _push(plan: Plan) -> Plan:
    if not isinstance(plan, Filter) or not isinstance(plan.source, (Moments, Nearest)):
        return plan
    known = _OF_FRAMES if isinstance(plan.source, Nearest) else {"video_id"}
    if isinstance(plan.source, Moments) and plan.source.top_k is not None:
        return plan
    below, above = split(plan.predicates, lambda predicate: reads(predicate) <= known)
    if not below:
        return plan
    found = replace(plan.source, source=Filter(plan.source.source, below))
    return Filter(found, above) if above else found
