"""Plans as text: the tree, the rules that fired, what each part is expected to cost and did."""

from collections.abc import Mapping, Sequence
from functools import singledispatch

from engine.operators.base import Context
from engine.planner import logical
from engine.planner.arrange import Reasons
from engine.planner.cost import Cost, estimate_all
from engine.planner.logical import Plan, children
from engine.planner.reasons import not_done
from engine.planner.steps import asked_by
from engine.search.guarantee import Targets
from engine.search.work import Embedded, Passed, Run, Work


@singledispatch
def describe(plan: Plan) -> str:
    """Return one node as one line."""
    raise TypeError(f"no description of {type(plan).__name__}")


@describe.register
def _(plan: logical.Scan) -> str:
    return f"Scan {plan.relation}{_where(plan.predicates)}"


@describe.register
def _(plan: logical.Embed) -> str:
    count = "" if plan.count is None else f" {plan.count}"
    return f"Embed{count} frames{_where(plan.predicates)} of"


@describe.register
def _(plan: logical.Filter) -> str:
    return f"Filter{_where(plan.predicates)}"


@describe.register
def _(plan: logical.SemiJoin) -> str:
    return f"SemiJoin on {plan.key} = {plan.other_key}"


@describe.register
def _(plan: logical.Score) -> str:
    ranges = {name: f" {kept}" for name, kept in plan.ranges}
    listed = ", ".join(
        f"{match.name} = {match}{ranges.get(match.name, '')}" for match in plan.matches
    )
    cuts = ", ".join(f"{cut.name} at {cut.value:g}" for cut in plan.cuts)
    exact = ", every row exact" if plan.exact else ""
    return f"Score {listed}" + (f", exact near {cuts}" if cuts else "") + exact


@describe.register
def _(plan: logical.Settle) -> str:
    return f"Make exact {', '.join(match.name for match in plan.matches)}"


@describe.register
def _(plan: logical.Search) -> str:
    return f"Search best {plan.count} by {plan.match.name} = {plan.match}"


@describe.register
def _(plan: logical.Top) -> str:
    return f"Top {plan.count} by {plan.column}" + (" and what equals the last" if plan.ties else "")


@describe.register
def _(plan: logical.Limit) -> str:
    return f"Limit {plan.count}"


@describe.register
def _(plan: logical.Moments) -> str:
    words = []
    for step in plan.steps:
        word = repr(step.text) if isinstance(step.text, str) else str(step.text)
        word += f" holds {step.hold_seconds:g} s" if step.hold_seconds else ""
        word += f" gap {step.gap_seconds:g} s" if step.gap_seconds is not None else ""
        word += f" within {step.within_seconds:g} s" if step.within_seconds is not None else ""
        words.append(word)
    gap = "" if plan.gap_seconds is None else f", gap {plan.gap_seconds:g} s"
    cut = "calibrated cut" if plan.min_score is None else f"score >= {plan.min_score:g}"
    least = f", lasting {plan.min_duration:g} s" if plan.min_duration else ""
    most = "" if plan.top_k is None else f", the best {plan.top_k}"
    joint = " and by itself " if plan.apart else " then "
    return f"Moments {joint.join(words)}{gap}, {cut}{least}{most}"


@describe.register
def _(plan: logical.VideoAnswer) -> str:
    choices = f" out of {len(plan.choices)} choices" if plan.choices else ""
    return f"Answer {plan.name} = {plan.question!r}{choices}"


@describe.register
def _(plan: logical.Classify) -> str:
    return f"Classify {plan.name} = " + ("likeliest" if plan.label is None else repr(plan.label))


@describe.register
def _(plan: logical.Nearest) -> str:
    return f"Nearest {plan.count} frames{' of other videos' if plan.apart else ''}"


@describe.register
def _(plan: logical.Detect) -> str:
    label = "objects" if plan.label is None else repr(plan.label)
    return f"Detect {label}" + ("" if plan.min_score is None else f" from {plan.min_score:g}")


@describe.register
def _(plan: logical.Spot) -> str:
    return f"Spot {plan.name} = {plan.label!r}"


@describe.register
def _(plan: logical.TextMatch) -> str:
    return f"TextMatch {plan.name} = {plan.text!r}"


@describe.register
def _(plan: logical.Judge) -> str:
    targets = ", ".join(f"{name} {getattr(plan.targets, name):g}" for name in Targets.__slots__)
    return f"Judge {plan.name} = {plan.question!r}, {targets}"


@describe.register
def _(plan: logical.Tell) -> str:
    return f"Tell {plan.name} = {plan.inquiry.call}, {plan.inquiry}"


@describe.register
def _(plan: logical.TellTexts) -> str:
    best = f"the likeliest {plan.candidates} of {len(plan.texts)} texts"
    return f"Tell {plan.name} = {plan.question!r}, {best}"


@describe.register
def _(plan: logical.Hold) -> str:  # noqa: ARG001
    return "Hold spans with a row in them"


@describe.register
def _(plan: logical.Overlap) -> str:  # noqa: ARG001
    return "Overlap of spans"


@describe.register
def _(plan: logical.Shared) -> str:
    return f"Rows of {plan.input}"


@describe.register
def _(plan: logical.Relational) -> str:
    return f"Relational {plan.text}"


def tree(plan: Plan, depth: int = 0) -> list[tuple[Plan, str]]:
    """Return every node with its indented line, top first."""
    lines = [(plan, "  " * depth + describe(plan))]
    if isinstance(plan, logical.Relational):
        for item in plan.inputs:
            inner = tree(item.plan, depth + 1)
            first = "  " * (depth + 1) + f"{item.name} ← {describe(item.plan)}"
            lines += [(inner[0][0], first), *inner[1:]]
        return lines
    for child in children(plan):
        lines += tree(child, depth + 1)
    return lines


def show(plan: Plan) -> str:
    """Return the whole plan as text."""
    return "\n".join(line for _, line in tree(plan))


def explain_text(
    plan: Plan,
    rules: Sequence[str],
    context: Context,
    *,
    costs: Sequence[Cost] | None = None,
    analyzed: float | None = None,
    reasons: Reasons = (),
) -> str:
    """Explain a plan, and after it ran for `analyzed` seconds also what it did.

    `costs` were estimated before it ran; without them they are now.
    """
    costs = estimate_all(plan, context) if costs is None else costs
    lines = tree(plan)
    own = own_seconds(plan, context.work.runs)
    width = min(max(len(line) for _, line in lines[1:] or lines), 72)
    text = []
    for place, ((node, line), cost) in enumerate(zip(lines, costs, strict=True)):
        did = "" if analyzed is None else f" | {_did(context.work.runs.get(place), own[place])}"
        did += "" if analyzed is None else _passed(tested_of(node, context))
        text.append(f"{line:<{width}}  {_cost(cost)}{did}")
    text.append("rules: " + (", ".join(rules) or "none"))
    text += [f"order of {name}: {', then '.join(map(str, found))}" for name, found in reasons]
    text += not_done(plan)
    text.append(f"estimated: {sum(cost.seconds for cost in costs):.3f} s")
    if analyzed is not None:
        text += _done(context.work, analyzed)
    return "\n".join(text)


def own_seconds(plan: Plan, runs: Mapping[int, Run]) -> list[float]:
    """The seconds of every node without those of what it reads, in the order of the tree."""
    own: list[float] = []

    def visit(node: Plan) -> float:
        place = len(own)
        own.append(0.0)
        whole = runs.get(place, Run()).seconds
        own[place] = max(0.0, whole - sum(visit(child) for child in children(node)))
        return whole

    visit(plan)
    return own


def _cost(cost: Cost) -> str:
    note = f" ({cost.note})" if cost.note else ""
    return f"~{cost.rows:.0f} rows, {cost.seconds:.3f} s{note}"


def _did(run: Run | None, own: float) -> str:
    if run is None:
        return "not read"
    return f"{run.rows} rows, {run.seconds:.3f} s, {own:.3f} s of its own"


def tested_of(plan: Plan, context: Context) -> Passed | None:
    """How many rows came to the conditions of a node on what is computed below it."""
    asked = asked_by(plan)
    return None if asked is None else context.work.tested.get(asked.text)


def _passed(tested: Passed | None) -> str:
    if tested is None or not tested.rows:
        return ""
    return f", {100 * tested.passed / tested.rows:.3g} % of {tested.rows} passed"


def _done(work: Work, seconds: float) -> list[str]:
    """Say what the plan did: frames decoded, encoded, reused and refined, indexes searched."""
    lines = [f"took: {seconds:.3f} s"]
    lines += [f"index: {found}" for found in dict.fromkeys(work.found)]
    if not work.found:
        lines.append("index: not used, every row is scored exactly where a score is asked for")
    lines.append(f"frames from store: {work.stored_frames}")
    for item in work.embedded:
        rate = item.tokens_reused / item.tokens if item.tokens else 0.0
        lines += [
            f"decoded: {item.gops} GOPs of {item.videos} videos in {item.decode_seconds:.2f} s",
            f"embedded: {item.frames} frames in {item.encode_seconds:.2f} s, {item.full} full, "
            f"{item.reused} with reuse, {rate:.1%} of the tokens reused",
            f"saved: {_saved(item.macs, item.macs_dense)} of the multiply-adds, "
            f"{_seconds_saved(item)} of wall time",
        ]
        lines += [f"strategy: {item.choice}"] if item.choice else []
        lines += [] if item.complete else ["not everything that was asked for could be embedded"]
    lines += _asked(work)
    if work.actions:
        stored, made = (sum(getattr(item, n) for item in work.actions) for n in ("stored", "made"))
        seconds = sum(item.seconds for item in work.actions)
        lines.append(
            f"clips: {stored} from store, {made} decoded and classified in {seconds:.2f} s"
        )
        if not all(item.complete for item in work.actions):
            lines.append("not every clip that was asked for could be classified")
    if work.detections:
        stored, made = (sum(getattr(i, n) for i in work.detections) for n in ("stored", "frames"))
        seconds = sum(item.seconds for item in work.detections)
        lines.append(f"objects: {stored} GOPs from store, {made} frames seen in {seconds:.2f} s")
        if not all(item.complete for item in work.detections):
            lines.append("not every frame that was asked for could be looked at")
    for refined in work.refined:
        lines.append(
            f"refined: {refined.rows} rows in {refined.seconds:.2f} s, the order is certain with "
            f"{refined.confidence:.0%}" + ("" if refined.complete else ", the budget ended first")
        )
    return lines


def _asked(work: Work) -> list[str]:
    """Say what something that looks was asked, a line for each column."""
    lines = [
        f"{column} asked: {item.calls} of {item.rows} {item.what}, {item.known} known from before,"
        f" in {item.seconds:.2f} s: recall {item.recall:.3f} and precision {item.precision:.3f} at"
        f" least; ranked by {'what was learnt from their vectors' if item.learnt else 'the score'}"
        for column, item in work.looks.items()
    ]
    lines += [
        f"{column} asked: {item.calls} calls for {item.rows} rows, {item.calls - item.fresh} known"
        f" from before, in {item.seconds:.2f} s"
        for column, item in work.tells.items()
    ]
    return lines


def _saved(done: float, dense: float) -> str:
    return f"{1 - done / dense:.1%}" if done < dense else "none"


def _seconds_saved(item: Embedded) -> str:
    if not item.tokens_reused:
        return "none"
    return "an unknown part" if item.saved_seconds is None else f"{item.saved_seconds:.2f} s"


def _where(predicates: logical.Predicates) -> str:
    return " where " + " and ".join(p.sql("duckdb") for p in predicates) if predicates else ""
