"""Of an input from which the statement needs only some rows, pass on only those."""

from dataclasses import replace

from engine.planner.logical import Limit, Plan, Relational, Top, transform


def apply_needs(plan: Plan) -> Plan:
    """Put Top or Limit on the inputs, once all joins restrict them."""
    return transform(plan, _apply)


def _apply(plan: Plan) -> Plan:
    if not isinstance(plan, Relational) or plan.joins or plan.spans or not plan.needs:
        return plan
    plans = {item.name: item.plan for item in plan.inputs}
    for need in plan.needs:
        inner = plans[need.input]
        plans[need.input] = (
            Top(inner, need.column, need.count, need.ties)
            if need.column
            else Limit(inner, need.count)
        )
    inputs = tuple(replace(item, plan=plans[item.name]) for item in plan.inputs)
    return replace(plan, inputs=inputs, needs=())
