"""The rules, in their order, applied until nothing changes."""

import logging
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from engine.planner.logical import Plan
from engine.planner.rules.apply_joins import apply_joins
from engine.planner.rules.apply_needs import apply_needs
from engine.planner.rules.cut_before_next_score import cut_before_next_score
from engine.planner.rules.push_filter_below_embed import push_filter_below_embed
from engine.planner.rules.push_filter_below_moments import push_filter_below_moments
from engine.planner.rules.push_filter_below_score import push_filter_below_score
from engine.planner.rules.push_filter_below_semi_join import push_filter_below_semi_join
from engine.planner.rules.push_filter_into_scan import push_filter_into_scan
from engine.planner.rules.push_semi_join_down import push_semi_join_down
from engine.planner.rules.push_top_down import push_top_down
from engine.planner.rules.search_for_top import search_for_top
from engine.planner.rules.search_within_range import search_within_range

log = logging.getLogger(__name__)

Rule: TypeAlias = Callable[[Plan], Plan]

RULES: Final[tuple[Rule, ...]] = (
    apply_joins,
    apply_needs,
    push_top_down,
    push_filter_below_score,
    push_filter_below_moments,
    push_semi_join_down,
    push_filter_below_embed,
    push_filter_below_semi_join,
    push_filter_into_scan,
    cut_before_next_score,
    search_for_top,
    search_within_range,
)
_ROUNDS = 3000  # above what any plan needs: a rule only moves work down, in a round one match


def optimize(plan: Plan, rules: Sequence[Rule] = RULES) -> tuple[Plan, list[str]]:
    """Apply the rules until none changes the plan; return it and the names of those that did."""
    fired: list[str] = []
    for _ in range(_ROUNDS):
        before = plan
        for rule in rules:
            changed = rule(plan)
            if changed is not plan and changed != plan:
                name = getattr(rule, "__name__", str(rule))
                if name not in fired:
                    fired.append(name)
                plan = changed
        if plan is before or plan == before:
            break
    else:
        raise AssertionError("the rules undo one another")
    log.debug("rules that fired: %s", ", ".join(fired) or "none")
    return plan, fired
