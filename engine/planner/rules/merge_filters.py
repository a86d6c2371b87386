"""Two filters in a row are one."""

from engine.planner.logical import Filter, Plan, transform


def merge_filters(plan: Plan) -> Plan:
    """Join the predicates of adjacent filters, the lower one's first."""
    return transform(plan, _merge)


def _merge(plan: Plan) -> Plan:
    if isinstance(plan, Filter) and isinstance(plan.source, Filter):
        return Filter(plan.source.source, plan.source.predicates + plan.predicates)
    return plan
