"""What is computed for the rows of an input, one after the other, and what is asked of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from sqlglot import exp

from engine.planner.logical import (
    Classify,
    Filter,
    Plan,
    Predicates,
    Score,
    Spot,
    TextMatch,
    VideoAnswer,
    children,
)
from engine.planner.predicates import reads
from engine.search.scores import Match

Maker: TypeAlias = (
    Score | TextMatch | VideoAnswer | Classify | Spot
)  # adds columns and drops no row


@dataclass(frozen=True, slots=True)
class Ask:
    """Conditions on what is computed, in words that are the same whatever statement asks it.

    `models`: those that they depend on beside the one of the embeddings.
    """

    text: str
    models: tuple[str, ...] = ()  # "actions", "detections"


@dataclass(frozen=True, slots=True)
class Chain:
    """Makers above one another, the lowest first, and the conditions between and above them."""

    base: Plan
    makers: tuple[Maker, ...]
    predicates: Predicates

    @property
    def is_choice(self) -> bool:
        """Whether the makers' order matters: a row that fails one condition is spared the rest."""
        return len(self.makers) > 1 and bool(self.predicates)

    @property
    def calls(self) -> dict[str, str]:
        """What the columns mean that are made."""
        return {name: call for maker in self.makers for name, call in calls_of(maker).items()}


def chain_of(plan: Plan) -> Chain | None:
    """Return the chain that a node is the top of, or None."""
    makers: list[Maker] = []
    predicates: list[Predicates] = []
    node, base, asked = plan, plan, 0
    while isinstance(node, (Filter, Maker)):
        if isinstance(node, Filter):
            predicates.append(node.predicates)
        else:
            makers.append(node)
            base, asked = node.source, len(predicates)
        node = node.source
    if not makers:
        return None
    own = tuple(part for group in reversed(predicates[:asked]) for part in group)
    return Chain(base, tuple(reversed(makers)), own)


def chains(plan: Plan) -> Iterator[Chain]:
    """Yield all chains of a plan."""
    found = chain_of(plan)
    if found is not None:
        yield found
    for child in [found.base] if found else children(plan):
        yield from chains(child)


def has_choice(plan: Plan) -> bool:
    """Whether anything in a plan could be done in another order."""
    return any(found.is_choice for found in chains(plan))


def ready(predicates: Sequence[exp.Expr], made: set[str], names: set[str]) -> Predicates:
    """Those conditions that read none of the `names` but those that have been `made`."""
    return tuple(part for part in predicates if reads(part) & names <= made)


def assemble(chain: Chain, order: Sequence[Maker]) -> Plan:
    """Put the makers above one another in an order, each condition as low as it can be."""
    plan, names = chain.base, set(chain.calls)
    made: set[str] = set()
    left = chain.predicates
    for maker in order:
        plan = _above(maker, plan)
        made |= calls_of(maker).keys()
        now = ready(left, made, names)
        left = tuple(part for part in left if part not in now)
        plan = Filter(plan, now) if now else plan
    assert not left
    return plan


def _above(maker: Maker, source: Plan) -> Plan:
    if isinstance(maker, Score):  # its ranges are those of the conditions that were above it
        return replace(maker, source=source, ranges=())
    return replace(maker, source=source)


def calls_of(maker: Maker) -> dict[str, str]:
    """What each column means that a maker adds, as a statement would write it."""
    match maker:
        case Score():
            return {match.name: _match(match) for match in maker.matches}
        case TextMatch():
            return {maker.name: f"TEXT_MATCH({_quoted(maker.text)})"}
        case VideoAnswer():
            listed = ", ".join(map(_quoted, maker.choices or ()))
            choices = f", [{listed}]" if listed else ""
            return {maker.name: f"VIDEO_QA({_quoted(maker.question)}{choices})"}
        case Classify():
            return {maker.name: f"ACTION({'' if maker.label is None else _quoted(maker.label)})"}
        case Spot():
            return {maker.name: f"DETECT({_quoted(maker.label)})"}


def _match(match: Match) -> str:
    if isinstance(match.subject, bytes):
        return f"IMAGE_MATCH({match})"
    kind = "CLIP_PROB" if match.measure == "probability" else "CLIP_MATCH"
    return f"{kind}({_quoted(match.subject)})"


def _quoted(text: str) -> str:
    return exp.Literal.string(text).sql("duckdb")


def test_of(predicates: Predicates, calls: Mapping[str, str]) -> Ask:
    """Say what conditions ask."""

    def put(node: exp.Expr) -> exp.Expr:
        known = calls.get(node.name) if isinstance(node, exp.Column) else None
        return node if known is None else exp.Var(this=known)

    text = " AND ".join(sorted(part.transform(put).sql("duckdb") for part in predicates))
    words = {"actions": "ACTION(", "detections": "DETECT("}
    used = [calls[name] for part in predicates for name in reads(part) if name in calls]
    models = (name for name, word in words.items() if any(call.startswith(word) for call in used))
    return Ask(text, tuple(models))


def asked_by(plan: Plan) -> Ask | None:
    """What the conditions of a Filter ask of what is computed right below it, if anything."""
    if not isinstance(plan, Filter) or not isinstance(plan.source, Maker):
        return None
    found = chain_of(plan)
    assert found is not None
    own = calls_of(plan.source).keys()
    if not any(reads(part) & own for part in plan.predicates):
        return None
    return test_of(plan.predicates, found.calls)
