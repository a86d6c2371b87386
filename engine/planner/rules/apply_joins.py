"""Rows that an inner join with a filtered relation will drop need not be read."""

from dataclasses import replace

from engine.planner.logical import Filter, Plan, Relational, Scan, SemiJoin, transform, walk


def apply_joins(plan: Plan) -> Plan:
    """Turn joins with filtered relations into semi-joins of the inputs; others are forgotten."""
    return transform(plan, _apply)


def _apply(plan: Plan) -> Plan:
    if not isinstance(plan, Relational) or not plan.joins:
        return plan
    plans = {item.name: item.plan for item in plan.inputs}
    for join in plan.joins:  # in their order: what restricts others is restricted first
        if _is_restricted(plans[join.right]):
            plans[join.left] = SemiJoin(
                plans[join.left], plans[join.right], join.left_key, join.right_key
            )
    inputs = tuple(replace(item, plan=plans[item.name]) for item in plan.inputs)
    return replace(plan, inputs=inputs, joins=())


def _is_restricted(plan: Plan) -> bool:
    return any(
        isinstance(node, (Filter, SemiJoin)) or (isinstance(node, Scan) and node.predicates)
        for node in walk(plan)
    )
