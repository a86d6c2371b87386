"""MATCH_RECOGNIZE becomes plain SQL: rows to characters, a regular expression, and rows again.

What reads it knows nothing of it, so all that holds of derived tables holds of it: which frames are
embedded, which scores are made exact, what is pushed into its source.
"""

from typing import NoReturn

from sqlglot import exp

from engine.errors import BindError
from engine.planner.place import position_of
from engine.planner.row_pattern import (
    FIRST_SIGN,
    MOST_VARIABLES,
    PatternError,
    RowPattern,
    elements,
    read_pattern,
    signs_of,
    told_by_row,
)

_PER_MATCH = ("", "ONE ROW PER MATCH")
_PAST = ("", "AFTER MATCH SKIP PAST LAST ROW")
_NEXT = "AFTER MATCH SKIP TO NEXT ROW"
# each row with its number and its character; then each partition as one text with its matches
_ROWS = "SELECT *, row_number() OVER ({window}) AS __n, {mask} AS __mask FROM __source"
_TEXTS = (
    "SELECT {keys} string_agg(chr({first} + __mask::INTEGER), '' ORDER BY __n) AS __text"
    " FROM __rows {group}"
)
_FOUND = (
    "SELECT *, regexp_extract_all(__text, '{regex}') AS __found,"
    " string_split_regex(__text, '{regex}') AS __between FROM __texts"
)
_LISTED = (
    "SELECT * EXCLUDE (__text, __found, __between), unnest(__found) AS __match,"
    " unnest(__between[1:len(__found)]) AS __before, generate_subscripts(__found, 1) AS __number"
    " FROM __finds"
)
_PLACED = (
    "SELECT *, 1 + (sum(length(__before)) OVER __past + sum(length(__match)) OVER __past"
    " - length(__match))::BIGINT AS __first FROM __listed"
    " WINDOW __past AS ({split} ORDER BY __number)"
)
_EVERY = (
    "SELECT * EXCLUDE (__text, __at), __at AS __first, row_number() OVER ({split} ORDER BY __at)"
    " AS __number FROM (SELECT *, regexp_extract(substr(__text, __at), '^(?:{regex})') AS __match"
    " FROM (SELECT *, unnest(range(1, length(__text) + 1)) AS __at FROM __texts))"
    " WHERE __match <> ''"
)
_JOINED = (
    "SELECT __r.*, __p.__number, {cases} AS __variable FROM __placed AS __p JOIN __rows AS __r"
    " ON {same} __r.__n BETWEEN __p.__first AND __p.__first + length(__p.__match) - 1"
)


def lower_patterns(tree: exp.Expr, sql: str) -> exp.Expr:
    """Put derived tables in the place of what MATCH_RECOGNIZE reads."""
    for select in list(tree.find_all(exp.Select)):
        match = select.args.get("match")
        if match is not None:
            _Lowering(select, match, sql).apply()
    return tree


class _Lowering:
    def __init__(self, select: exp.Select, match: exp.MatchRecognize, sql: str) -> None:
        self.select, self.match, self.sql = select, match, sql
        source = select.args.get("from_")
        if source is None or select.args.get("joins") or source.this.args.get("joins"):
            self._fail(match, "MATCH_RECOGNIZE reads one relation; put a join into a derived table")
        self.source = source.this
        self.keys = match.args.get("partition_by") or []
        for key in self.keys:
            if not isinstance(key, exp.Column):
                self._fail(key, "PARTITION BY of MATCH_RECOGNIZE takes columns")
        self.defines = {item.alias.upper(): item.this for item in match.args.get("define") or []}
        try:
            self.pattern: RowPattern = read_pattern(match.args["pattern"].name)
        except PatternError as error:
            self._fail(match, str(error))
        self.names = list(dict.fromkeys(self.pattern.names()))
        self._check()
        defined = list(self.defines)
        self.signs = signs_of(self.names, defined)
        self.told: dict[str, bool] = {}
        for element in elements(self.pattern):
            for name in element.names():
                self.told[name] = self.told.get(name, True) and told_by_row(element) is not None

    def apply(self) -> None:
        """Write the derived table and let the SELECT read it."""
        window = exp.Window(
            this=exp.Anonymous(this="w"),
            partition_by=[key.copy() for key in self.keys],
            order=self.match.args["order"].copy(),
        )
        spec = window.sql("duckdb").partition(" OVER (")[2][:-1]
        keys = [key.name for key in self.keys]
        listed = "".join(f"{_quoted(key)}, " for key in keys)
        split = f"PARTITION BY {listed[:-2]}" if keys else ""
        regex = self.pattern.expression(self.signs)
        skip = str(self.match.args.get("after") or "").upper()
        given = {
            "window": spec,
            "mask": " + ".join(f"__bit_{bit}" for bit in range(len(self.defines))) or "0",
            "keys": listed,
            "first": FIRST_SIGN,
            "group": f"GROUP BY {listed[:-2]}" if keys else "",
            "regex": regex,
            "split": split,
            "cases": self._cases(),
            "same": "".join(
                f"__r.{_quoted(key)} IS NOT DISTINCT FROM __p.{_quoted(key)} AND " for key in keys
            ),
        }
        steps = {"__rows": _ROWS, "__texts": _TEXTS}
        if skip == _NEXT:
            steps["__placed"] = _EVERY
        else:
            steps |= {"__finds": _FOUND, "__listed": _LISTED, "__placed": _PLACED}
        steps["__joined"] = _JOINED
        query = exp.select(*(exp.column(key, quoted=True) for key in keys)).from_("__joined")
        for name, template in steps.items():
            query = query.with_(name, as_=template.format(**given), dialect="duckdb", copy=False)
        self._put_source(query)
        for measure in self.match.args.get("measures") or []:
            item = measure.this
            if not isinstance(item, exp.Alias):
                self._fail(item, "each of MEASURES needs a name: … AS name")
            value = self._measure(item.this.copy())
            query.append("expressions", exp.alias_(value, item.alias, quoted=True))
        groups = [*(exp.column(key, quoted=True) for key in keys), exp.column("__number")]
        query = query.group_by(*groups, copy=False)
        alias = self.match.args.get("alias") or exp.TableAlias(this=exp.to_identifier("matches"))
        self.select.set("match", None)
        self.select.args["from_"].set("this", exp.Subquery(this=query, alias=alias.copy()))

    def _put_source(self, query: exp.Query) -> None:
        """Let the first step read the source and the DEFINEs of the statement."""
        rows = next(cte.this for cte in query.ctes if cte.alias == "__rows")
        rows.args["from_"].set("this", self.source.copy())
        for bit, (name, condition) in enumerate(self.defines.items()):
            holds = exp.Case().when(self._defined(name, condition), exp.Literal.number(1 << bit))
            holds = holds.else_(exp.Literal.number(0))
            for column in list(rows.find_all(exp.Column)):
                if column.name == f"__bit_{bit}":
                    column.replace(exp.paren(holds))

    def _defined(self, name: str, condition: exp.Expr) -> exp.Expr:
        """A DEFINE as an expression over rows: PREV and NEXT are neighbours in the order."""
        holder = exp.Paren(this=condition.copy())
        for column in list(holder.find_all(exp.Column)):
            of = column.table.upper()
            if of in self.names and of != name:
                self._so_far(column, name, column.sql("duckdb"))
            if of == name:
                column.set("table", None)
        for call in list(
            holder.find_all(exp.Window, exp.Anonymous, exp.First, exp.Last, exp.AggFunc)
        ):
            self._expect_plain(call, f"DEFINE of {name}")
            word = call.name.upper() if isinstance(call, exp.Anonymous) else ""
            if word in ("PREV", "NEXT"):
                shift = "lag" if word == "PREV" else "lead"
                inner = exp.Anonymous(this=shift, expressions=[e.copy() for e in call.expressions])
                order = self.match.args["order"].copy()
                keys = [key.copy() for key in self.keys]
                call.replace(exp.Window(this=inner, partition_by=keys, order=order))
            elif isinstance(call, (exp.First, exp.Last, exp.AggFunc)):
                self._so_far(call, name, call.sql("duckdb"))
        return holder.this

    def _expect_plain(self, call: exp.Expr, where: str) -> None:
        """Refuse windows, and arguments that would be lost."""
        said = f"{where}: {call.sql('duckdb')}"
        word = call.name.upper() if isinstance(call, exp.Anonymous) else ""
        if isinstance(call, exp.Window):
            self._fail(call, f"{said}; allowed: PREV, NEXT, FIRST, LAST and aggregates, no windows")
        if word in ("CLASSIFIER", "MATCH_NUMBER") and call.expressions:
            self._fail(call, f"{said}; allowed: {word}() without arguments")
        if word in ("PREV", "NEXT") and len(call.expressions) not in (1, 2):
            self._fail(call, f"{said}; allowed: {word}(expression [, rows])")
        offset = call.args.get("expression") if isinstance(call, (exp.First, exp.Last)) else None
        if offset is not None and not (isinstance(offset, exp.Literal) and offset.is_int):
            end = "FIRST" if isinstance(call, exp.First) else "LAST"
            self._fail(call, f"{said}; allowed: {end}(expression [, rows, a whole number])")

    def _so_far(self, node: exp.Expr, name: str, what: str) -> NoReturn:
        said = f"DEFINE of {name} looks at the match so far: {what}"
        self._fail(node, f"{said}; allowed: its own row, PREV and NEXT")

    def _measure(self, node: exp.Expr) -> exp.Expr:
        """One of MEASURES as an aggregate over the rows of a match."""
        holder = exp.Paren(this=node)
        for word in list(holder.find_all(exp.Window, exp.Anonymous, exp.First, exp.Last)):
            self._expect_plain(word, "MEASURES")
            if word.name.upper() in ("PREV", "NEXT"):
                self._fail(word, "MEASURES take FIRST, LAST, aggregates and columns")
            if word.name.upper() == "MATCH_NUMBER":
                word.replace(exp.column("__number"))
            elif word.name.upper() == "CLASSIFIER":
                self._expect_told(word, self.names)
                word.replace(self._picked("last", exp.column("__variable"), None))
        for call in [*holder.find_all(exp.First, exp.Last, exp.AggFunc)]:
            if call.find_ancestor(exp.Window) or not call.parent or _made(call):
                continue
            name = self._variable_of(call)
            if isinstance(call, (exp.First, exp.Last)):
                end = "first" if isinstance(call, exp.First) else "last"
                offset = int(call.args["expression"].name) if call.args.get("expression") else 0
                call.replace(self._picked(end, call.this.copy(), name, offset))
            else:
                call.replace(self._filtered(call.copy(), name))
        for column in list(holder.find_all(exp.Column)):
            if column.find_ancestor(exp.AggFunc, exp.Filter) or column.name == "__number":
                continue
            name = column.table.upper() if column.table else None
            if name is not None and name not in self.names:
                self._fail(column, f"{column.table} is no variable of PATTERN")
            if name is not None:
                self._expect_told(column, [name])
            column.set("table", None)
            column.replace(self._picked("last", column.copy(), name))
        return holder.this

    def _variable_of(self, call: exp.Expr) -> str | None:
        """The variable whose rows an aggregate is over, taken off its columns."""
        found = set()
        for column in call.find_all(exp.Column):
            if column.table:
                if column.table.upper() not in self.names:
                    self._fail(column, f"{column.table} is no variable of PATTERN")
                found.add(column.table.upper())
                if isinstance(column.this, exp.Star):
                    column.replace(exp.Star())
                else:
                    column.set("table", None)
        if len(found) > 1:
            self._fail(call, "an aggregate of MEASURES is over the rows of one variable")
        if found:
            self._expect_told(call, list(found))
        return next(iter(found), None)

    def _picked(self, word: str, value: exp.Expr, name: str | None, offset: int = 0) -> exp.Expr:
        """The value of the first or last row (of a variable's), or of one so many rows nearer."""
        ordered = exp.Order(this=value, expressions=[exp.Ordered(this=exp.column("__n"))])
        if offset:
            place = exp.Literal.number(1 + offset) if word == "first" else f"{-1 - offset}"
            return exp.func("list_extract", self._filtered(exp.ArrayAgg(this=ordered), name), place)
        kind = exp.First if word == "first" else exp.Last
        return self._filtered(kind(this=ordered), name)

    def _filtered(self, call: exp.Expr, name: str | None) -> exp.Expr:
        call.meta["made"] = True
        if name is None:
            return call
        is_one = exp.EQ(this=exp.column("__variable"), expression=exp.Literal.string(name))
        return exp.Filter(this=call, expression=exp.Where(this=is_one))

    def _cases(self) -> str:
        """The variable of each row of a match, by how many rows the elements before it took."""
        groups = elements(self.pattern)
        whole = "".join(f"({element.expression(self.signs)})" for element in groups)
        branches, reached = [], "0"
        for place, element in enumerate(groups):
            taken = f"length(regexp_extract(__p.__match, '^(?:{whole})$', {place + 1}))"
            reached = taken if reached == "0" else f"{reached} + {taken}"
            branches.append(f"WHEN __r.__n - __p.__first < {reached} THEN {self._told(element)}")
        return f"CASE {' '.join(branches)} END"

    def _told(self, element: RowPattern) -> str:
        names = told_by_row(element)
        if names is None:
            return "NULL"
        defined = list(self.defines)
        cases = [
            f"WHEN __r.__mask::INTEGER & {1 << defined.index(name)} > 0 THEN '{name}'"
            if name in defined
            else f"WHEN true THEN '{name}'"
            for name in names
        ]
        return f"CASE {' '.join(cases)} END"

    def _expect_told(self, node: exp.Expr, names: list[str]) -> None:
        lost = [name for name in names if not self.told.get(name, False)]
        if lost:
            allowed = [name for name, told in self.told.items() if told]
            self._fail(
                node,
                f"MEASURES ask for rows of {lost[0]}, which is repeated together with"
                f" others; allowed: {', '.join(allowed) or 'columns without a variable'}",
            )

    def _check(self) -> None:
        unused = [name for name in self.defines if name not in self.names]
        if unused:
            self._fail(self.match, f"DEFINE has {unused[0]}, which PATTERN has not")
        if len(self.defines) > MOST_VARIABLES:
            self._fail(self.match, f"{len(self.defines)} DEFINEs; allowed: {MOST_VARIABLES}")
        if self.match.args.get("order") is None:
            self._fail(self.match, "MATCH_RECOGNIZE needs an ORDER BY")
        rows = str(self.match.args.get("rows") or "").upper()
        if rows not in _PER_MATCH:
            self._fail(self.match, f"{rows}; allowed: ONE ROW PER MATCH")
        skip = str(self.match.args.get("after") or "").upper()
        if skip not in (*_PAST, _NEXT):
            self._fail(self.match, f"{skip}; allowed: {_PAST[1]}, {_NEXT}")

    def _fail(self, node: exp.Expr, message: str) -> NoReturn:
        raise BindError(message, sql=self.sql, position=position_of(node))


def _made(call: exp.Expr) -> bool:
    return any(node.meta.get("made") for node in (call, *_ancestors(call)))


def _ancestors(node: exp.Expr) -> list[exp.Expr]:
    found, parent = [], node.parent
    while parent is not None:
        found.append(parent)
        parent = parent.parent
    return found


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
