"""A predicate is cheaper than a look-up in another relation."""

from dataclasses import replace

from engine.planner.logical import Filter, Plan, Scan, SemiJoin, transform


def push_filter_below_semi_join(plan: Plan) -> Plan:
    """Filter a scanned relation before it is joined."""
    return transform(plan, _push)


def _push(plan: Plan) -> Plan:
    join = plan.source if isinstance(plan, Filter) else None
    if isinstance(plan, Filter) and isinstance(join, SemiJoin) and isinstance(join.source, Scan):
        return replace(join, source=Filter(join.source, plan.predicates))
    return plan
