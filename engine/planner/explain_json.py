"""Plans as JSON: the same as the text, for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from engine.operators.base import Context
from engine.planner.arrange import Reasons
from engine.planner.cost import Cost, estimate_all
from engine.planner.explain import describe, own_seconds, tested_of
from engine.planner.logical import Plan, Relational, children
from engine.planner.reasons import not_done


def explain_json(
    plan: Plan,
    rules: Sequence[str],
    context: Context,
    *,
    costs: Sequence[Cost] | None = None,
    analyzed: float | None = None,
    reasons: Reasons = (),
) -> dict[str, Any]:
    """Explain a plan as `schemas.explain.ExplainOut` says; the arguments are `explain_text`'s."""
    costs = estimate_all(plan, context) if costs is None else costs
    own, places = own_seconds(plan, context.work.runs), iter(range(len(costs)))

    def node(part: Plan, name: str | None) -> dict[str, Any]:
        place = next(places)
        cost, run = costs[place], context.work.runs.get(place)
        names = [item.name for item in part.inputs] if isinstance(part, Relational) else []
        below = list(children(part))
        actual = None
        if analyzed is not None and run is not None:
            tested = tested_of(part, context)
            passing = {"tested": asdict(tested) if tested else None}
            actual = {**asdict(run), "own_seconds": own[place], **passing}
        return {
            "operator": type(part).__name__,
            "detail": describe(part),
            "input": name,
            "estimated": asdict(cost),
            "actual": actual,
            "children": [
                node(child, names[at] if names else None) for at, child in enumerate(below)
            ],
        }

    return {
        "plan": node(plan, None),
        "rules": list(rules),
        "order": {name: [asdict(one) for one in found] for name, found in reasons},
        "not_done": not_done(plan),
        "estimated_seconds": sum(cost.seconds for cost in costs),
        "took_seconds": analyzed,
        "work": None if analyzed is None else _work(context),
    }


def _work(context: Context) -> dict[str, Any]:
    work = context.work
    return {
        "index": list(dict.fromkeys(work.found)),
        "frames_from_store": work.stored_frames,
        "embedded": [asdict(item) for item in work.embedded],
        "refined": [asdict(item) for item in work.refined],
        "actions": [asdict(item) for item in work.actions],
        "detections": [asdict(item) for item in work.detections],
    }
