"""Rows on the wrong side of a cut-off come out of no vector search: nothing is made for them."""

from dataclasses import replace

from engine.planner.cuts import ranges_of
from engine.planner.logical import Filter, Plan, Score, transform


def search_within_range(plan: Plan) -> Plan:
    """Tell a Score in which range the filter above it needs its scores; the filter remains."""
    return transform(plan, _tell)


def _tell(plan: Plan) -> Plan:
    if not isinstance(plan, Filter) or not isinstance(plan.source, Score):
        return plan
    names = {match.name for match in plan.source.matches}
    found = ((name, kept) for name, kept in ranges_of(plan.predicates).items() if name in names)
    ranges = tuple(sorted(found, key=lambda item: item[0]))
    if ranges == plan.source.ranges:
        return plan
    return replace(plan, source=replace(plan.source, ranges=ranges))
