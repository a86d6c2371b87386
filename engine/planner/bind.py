"""Names to relations, functions to columns: a parsed statement becomes a logical plan."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NoReturn

from sqlglot import exp
from sqlglot.errors import SqlglotError

from engine.errors import BindError, ParseError, UsageError
from engine.planner.block import FromItem, Scope, own_nodes
from engine.planner.bounds import check_planning
from engine.planner.facts import gather
from engine.planner.handle import WITH_TIME, carry, resolve_any, resolve_handle
from engine.planner.hide import hide
from engine.planner.inquiries import read_pair, read_tell
from engine.planner.logical import (
    Classify,
    Embed,
    Filter,
    Input,
    Judge,
    Plan,
    Relational,
    Scan,
    Score,
    Spot,
    Tell,
    TellTexts,
    TextMatch,
    VideoAnswer,
)
from engine.planner.needs import find_needs
from engine.planner.parse import Statement
from engine.planner.place import position_of
from engine.planner.predicates import quotes, reads, split
from engine.planner.relations import FORMS
from engine.planner.safety import check_safe
from engine.planner.scope import Scopes
from engine.planner.spans import bind_detections, bind_moments, bind_nearest, lift_sequence
from engine.planner.targets import read_targets
from engine.planner.truth import is_predicate
from engine.search.scores import Match

# by relation, the column that stands for a row that can be looked at
_SEEN: Final = {"frames": "frame", "moments": "start_seconds"}
_UNSEEN: Final = "rows that can be looked at"
_UNSAID: Final = "rows in whose time something is said"
_TOLD: Final[Mapping[str, tuple[str, Callable[[exp.Anonymous, Plan, str], Tell | TellTexts]]]] = {
    "ai_classify": ("told", read_tell),
    "ai_extract": ("filled", read_tell),
    "ai_join": ("paired", read_pair),
}


@dataclass(slots=True)
class Calls:
    """The columns that the functions of a statement need of one input."""

    matches: list[Match] = field(default_factory=list)
    answers: list[VideoAnswer] = field(default_factory=list)
    acts: list[Classify | Spot] = field(default_factory=list)
    said: list[TextMatch] = field(default_factory=list)
    judges: list[Judge] = field(default_factory=list)
    tells: list[Tell | TellTexts] = field(default_factory=list)


def bind(statement: Statement, *, false_match_rate: float) -> Relational:
    """Check a statement and return its plan: nothing pushed down, every input read in full."""
    check_safe(statement)
    return _Binder(statement, false_match_rate).plan()


class _Binder:
    def __init__(self, statement: Statement, false_match_rate: float) -> None:
        self.statement = statement
        self.cut = 1 - (statement.options.get("false_match_rate", false_match_rate))
        self.query = statement.query.copy()
        self.scopes = Scopes.of(self.query, statement.vocabulary.columns)
        self.wanted: dict[str, Calls] = {}
        self.called: dict[str, Plan] = {}  # relations that are written as calls

    def plan(self) -> Relational:
        references = self.scopes.references.values()
        for block, source in references:
            self._name(block, source)
        for block in self.scopes.blocks:
            _keep_names(block.select)
            for call in list(own_nodes(block.select)):
                if isinstance(call, exp.Anonymous) and call.name.lower() in FORMS:
                    self._replace(block, call)
        hide(self.scopes, self.statement.sql)
        facts = gather(self.scopes)
        inputs = []
        for _, source in references:
            predicates = tuple(dict.fromkeys(facts.predicates.get(source.name, ())))
            plan = self._base(source, {name for each in predicates for name in reads(each)})
            inputs.append(Input(source.name, Filter(plan, predicates) if predicates else plan))
        needs = tuple(find_needs(self.scopes))
        joins, spans = tuple(facts.joins), tuple(facts.spans)
        kept = tuple(dict.fromkeys(facts.kept))
        text = self._written()
        return Relational(self.query, tuple(inputs), joins, needs, spans, kept, text)

    def _written(self) -> str:
        """Write the rest as DuckDB reads it; what was parsed but cannot be written is none."""
        try:
            return self.query.sql("duckdb")
        except (ValueError, SqlglotError) as error:
            said = f"cannot be run: {str(error).lower()}"
            raise ParseError(said, sql=self.statement.sql) from error

    def _name(self, block: Scope, source: FromItem) -> None:
        """Let DuckDB's rest of the statement read an input under the statement's name for it."""
        table = source.node.this if isinstance(source.node, exp.Lateral) else source.node
        assert isinstance(table, exp.Table)
        if source.relation == "moments":
            steps = lift_sequence(block, table)
            self.called[source.name] = bind_moments(table, steps, self.statement.sql)
        if source.relation == "nearest":
            self.called[source.name] = bind_nearest(table, self.statement.sql)
        if source.relation == "detections":
            self.called[source.name] = bind_detections(table, self.statement.sql)
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(source.relation)))
        table.set("this", exp.to_identifier(source.name, quoted=True))

    def _replace(self, block: Scope, call: exp.Anonymous) -> None:
        """Put the column that will hold a function's value in the place of its call."""
        kind = call.name.lower()
        arguments = call.expressions
        wanted = {"video_qa": "video_id", "action": "clip"}.get(kind, "frame")
        if not arguments or not isinstance(arguments[0], exp.Column):
            self._fail(call, f"expected {FORMS[kind]}")
        if kind in ("ai_classify", "ai_extract", "ai_join"):
            source, path = resolve_any(block, arguments[0], _SEEN, self.statement.sql, _UNSEEN)
            call.replace(carry(path, self._tell(source, call)))
            return
        if kind == "ai_filter":
            source, path = resolve_any(block, arguments[0], _SEEN, self.statement.sql, _UNSEEN)
            judged = carry(path, self._judge(source, call))
            call.replace(exp.paren(exp.EQ(this=judged, expression=exp.true())))
            return
        if kind == "text_match":
            self._replace_said(block, call, arguments[0])
            return
        source, path = resolve_handle(block, arguments[0], wanted, self.statement.sql)
        if kind == "video_qa":
            column = self._answer(source, call)
        elif kind in ("action", "detect"):
            column = self._act(source, call)
        else:
            subject = self._subject(kind, call)
            bare = kind == "clip_match" and is_predicate(call)
            by_chance = bare or kind == "clip_prob"
            match = Match("", subject, "probability" if by_chance else "similarity")
            column = self._match(source, match)
            if bare:
                value = carry(path, column)
                above = exp.GTE(this=value, expression=exp.Literal.number(self.cut))
                alone = isinstance(call.parent, (exp.Where, exp.And, exp.Or, exp.Paren, exp.If))
                call.replace(above if alone else exp.paren(above))
                return
        call.replace(carry(path, column))

    def _replace_said(self, block: Scope, call: exp.Anonymous, column: exp.Column) -> None:
        """Put a score in the place of TEXT_MATCH, or where a truth value is meant, whether any."""
        text = self._text(call, 1)
        if len(call.expressions) != 2:
            self._fail(call, f"expected {FORMS['text_match']}")
        source, path = resolve_any(block, column, WITH_TIME, self.statement.sql, _UNSAID)
        said = self._wanted(source).said
        name = next((known.name for known in said if known.text == text), None)
        if name is None:
            name = self._column("text")
            said.append(TextMatch(Scan("frames"), name, text))
        value, bare = carry(path, name), is_predicate(call)
        above = exp.paren(exp.GT(this=value, expression=exp.Literal.number(0)))
        call.replace(above if bare else value)

    def _judge(self, source: FromItem, call: exp.Anonymous) -> str:
        """Return the column of an equal question, or a new one."""
        question = self._text(call, 1)
        try:
            targets, most = read_targets(call.expressions[2:])
        except UsageError as error:
            self._fail(call, str(error))
        judges = self._wanted(source).judges
        for known in judges:
            if (known.question, known.targets, known.max_calls) == (question, targets, most):
                return known.name
        name = self._column("judge")
        judges.append(Judge(Scan("frames"), name, question, targets, most))
        return name

    def _tell(self, source: FromItem, call: exp.Anonymous) -> str:
        """Return the column of an equal inquiry, or a new one."""
        kind, read = _TOLD[call.name.lower()]
        try:
            found = read(call, Scan("frames"), "")
        except UsageError as error:
            self._fail(call, str(error))
        tells = self._wanted(source).tells
        known = next((each for each in tells if replace(each, name="") == found), None)
        if known is None:
            known = replace(found, name=self._column(kind))
            tells.append(known)
        return known.name

    def _match(self, source: FromItem, match: Match) -> str:
        """Return the column of an equal match, or a new one."""
        matches = self._wanted(source).matches
        for known in matches:
            if (known.subject, known.measure) == (match.subject, match.measure):
                return known.name
        name = self._column("match")
        matches.append(Match(name, match.subject, match.measure))
        return name

    def _answer(self, source: FromItem, call: exp.Anonymous) -> str:
        question, choices = self._text(call, 1), None
        if len(call.expressions) == 3:
            listed = call.expressions[2]
            texts = listed.expressions if isinstance(listed, exp.Array) else []
            if len(texts) < 2 or not all(_is_text(text) for text in texts):
                self._fail(call, f"expected {FORMS['video_qa']} with at least two choices")
            choices = tuple(text.this for text in texts)
        elif len(call.expressions) != 2:
            self._fail(call, f"expected {FORMS['video_qa']}")
        answers = self._wanted(source).answers
        for known in answers:
            if (known.question, known.choices) == (question, choices):
                return known.name
        name = self._column("answer")
        answers.append(VideoAnswer(Scan("videos"), name, question, choices))
        return name

    def _act(self, source: FromItem, call: exp.Anonymous) -> str:
        kind = call.name.lower()
        if len(call.expressions) > 2:
            self._fail(call, f"expected {FORMS[kind]}")
        if is_predicate(call):
            what = "a score" if kind == "detect" else "a probability or a label"
            self._fail(call, f"{kind.upper()} is {what}: compare it, as in > 0.5")
        alone = kind == "action" and len(call.expressions) == 1
        label = None if alone else self._text(call, 1)
        acts = self._wanted(source).acts
        for known in acts:
            if known.label == label:
                return known.name
        name = self._column("label" if label is None else kind)
        if kind == "detect":
            acts.append(Spot(Scan("frames"), name, str(label)))
        else:
            acts.append(Classify(Scan("clips"), name, label))
        return name

    def _subject(self, kind: str, call: exp.Anonymous) -> str | bytes:
        if len(call.expressions) != 2:
            self._fail(call, f"expected {FORMS[kind]}")
        if kind != "image_match":
            return self._text(call, 1)
        given = call.expressions[1]
        image = (
            self.statement.images.get(given.name) if isinstance(given, exp.Placeholder) else None
        )
        if image is None:
            self._fail(call, "IMAGE_MATCH takes a bound parameter with the image's bytes")
        return image

    def _text(self, call: exp.Anonymous, index: int) -> str:
        given = call.expressions[index] if len(call.expressions) > index else exp.null()
        if not _is_text(given):
            self._fail(call, f"expected {FORMS[call.name.lower()]}{quotes(given)}")
        text = str(call.expressions[index].this)
        if not text.strip():
            self._fail(call, f"{call.name.upper()} needs a text that is not empty")
        return text

    def _base(self, source: FromItem, tested: set[str]) -> Plan:
        """Return the whole relation with the columns that the functions need.

        What is told of rows and not `tested` is told last, of the rows that pass all filters.
        """
        wanted = self._wanted(source)
        plan: Plan
        if source.relation in ("moments", "detections", "nearest"):
            plan = self.called[source.name]
        elif source.relation == "frames":
            asked = wanted.matches or wanted.acts or wanted.judges or wanted.tells
            plan = Embed(Scan("gops")) if asked else Scan("frames")
        elif source.relation in ("gops", "clips", "transcript"):
            plan = Scan(source.relation)  # type: ignore[arg-type]
        else:
            plan = Scan("videos", columns=self.statement.vocabulary.columns)
        for said in wanted.said:
            plan = replace(said, source=plan)
        if wanted.matches:
            plan = Score(plan, tuple(wanted.matches))
        for answer in wanted.answers:
            plan = VideoAnswer(plan, answer.name, answer.question, answer.choices)
        for act in wanted.acts:
            plan = replace(act, source=plan)
        before, after = split(wanted.tells, lambda tell: tell.name in tested)
        for tell in before:
            plan = replace(tell, source=plan)
        for judge in wanted.judges:  # what they promise is of the rows that all else leaves
            plan = replace(judge, source=plan)
        for tell in after:
            plan = replace(tell, source=plan)
        return plan

    def _wanted(self, source: FromItem) -> Calls:
        return self.wanted.setdefault(source.name, Calls())

    def _column(self, kind: str) -> str:
        lists = {"match": "matches", "answer": "answers", "text": "said", "judge": "judges"}
        lists |= dict.fromkeys(("told", "filled", "paired"), "tells")
        count = sum(len(getattr(w, lists.get(kind, "acts"))) for w in self.wanted.values())
        return f"__{kind}_{count + 1}"

    def _fail(self, node: exp.Expr, message: str) -> NoReturn:
        raise BindError(message, sql=self.statement.sql, position=position_of(node))


def _keep_names(select: exp.Select) -> None:
    """Name result columns as the user wrote them, not by the columns put in place of calls."""
    for item in list(select.expressions):
        check_planning()
        used = any(call.name.lower() in FORMS for call in item.find_all(exp.Anonymous))
        if used and not isinstance(item, (exp.Alias, exp.Dot)):
            name = item.sql("duckdb")
            alias = exp.Alias(alias=exp.to_identifier(name, quoted=True))
            item.replace(alias)
            alias.set("this", item)  # itself: scopes hold the queries inside it


def _is_text(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and bool(node.is_string)
