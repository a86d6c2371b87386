"""A scan reads only the rows that pass."""

from dataclasses import replace

from engine.planner.logical import Filter, Plan, Scan, transform


def push_filter_into_scan(plan: Plan) -> Plan:
    """Give a scan the predicates of the filter above it."""
    return transform(plan, _push)


def _push(plan: Plan) -> Plan:
    if isinstance(plan, Filter) and isinstance(plan.source, Scan):
        scan = plan.source
        return replace(scan, predicates=scan.predicates + plan.predicates)
    return plan
