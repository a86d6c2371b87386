"""Random statements over the relations, from a seed: what analysts write, and what breaks planners.

Every LIMIT stands behind an order that leaves no choice, so each statement has one answer.
"""

from dataclasses import dataclass, field
from random import Random

from tests.oracle import words
from tests.oracle.whole import pivot, recursive, set_operation
from tests.oracle.words import OF_VIEWS, RELATIONS, SHADOWS, TEXTS, VALUES, Table, all_columns


@dataclass
class Generator:
    """Makes statements; `used` counts what they are built of."""

    seed: int
    used: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.names = 0

    def statement(self) -> str:
        """Return one statement."""
        self.names = 0
        kind = self.pick("plain", "plain", "plain", "plain", "with", "with", "setop", "topk",
                         "topk", "recursive", "pivot", "groups")  # fmt: skip
        self.note(kind)
        if kind == "with":
            return self.with_ctes()
        if kind == "setop":
            return set_operation(self, 2)
        if kind == "topk":
            return self.top_k([], 2)[0]
        if kind == "recursive":
            return recursive(self)
        if kind == "pivot":
            return pivot(self)
        if kind == "groups":
            return self.grouped([], 2)[0]
        return self.select([], 2)[0]

    # pieces

    def pick(self, *choices: str) -> str:
        return self.random.choice(choices)

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def note(self, what: str) -> None:
        self.used[what] = self.used.get(what, 0) + 1

    def name(self, kind: str = "t") -> str:
        self.names += 1
        return f"{kind}{self.names}"

    def text(self) -> str:
        return f"'{self.random.choice(TEXTS)}'"

    def score(self, table: Table) -> str:
        kind = self.pick("CLIP_MATCH", "CLIP_MATCH", "CLIP_MATCH", "CLIP_PROB")
        return f"{kind}({table.alias}.frame, {self.text()})"

    def column(self, tables: list[Table], kinds: str = "ntbd") -> tuple[str, str, str]:
        """Return a column as written, its name and its kind."""
        options = [
            (table, name, kind)
            for table in tables
            for name, kind in table.columns.items()
            if kind in kinds
        ]
        if not options:
            return "0.5", "half", "n"
        table, name, kind = self.random.choice(options)
        alone = sum(name in other.columns for other in tables) == 1
        return (name if alone and self.chance(0.3) else f"{table.alias}.{name}"), name, kind

    def value(self, name: str, kind: str) -> str:
        given = {"n": ("0", "1", "2.5"), "t": ("'x'",), "b": ("true",), "f": ("0.1", "0.4"),
                 "d": ("'2026-03-01'",)}[kind]  # fmt: skip
        return self.random.choice(VALUES.get(name, given))

    def predicate(self, tables: list[Table], outer: list[Table], depth: int) -> str:
        """Return a condition over the tables, and perhaps over those around."""
        scored = [table for table in tables if table.handle]
        kinds = ["compare", "compare", "in", "between", "null", "pair"]
        kinds += ["cut", "cut", "turned", "bare", "range"] if scored else []
        kinds += ["or", "not"] if depth > 0 else []
        kinds += ["member", "exists", "exists", "scalar"] if depth > 0 else []
        kinds += ["outer", "outer"] if outer else []
        kind = self.pick(*kinds)
        self.note(kind)
        written, name, of = self.column(tables)
        value = self.value(name, of)
        if of == "d" and kind == "compare" and self.chance(0.5):
            self.note("part of an instant")
            written, value = words.of_instant(self.random, written, value)
        operator = self.pick("=", "<>", "<", ">", "<=", ">=") if of != "b" else self.pick("=", "<>")
        if kind == "in":
            return f"{written} {self.pick('IN', 'IN', 'NOT IN')} ({value}, {self.value(name, of)})"
        if kind == "between" and of == "n":
            return f"{written} BETWEEN {self.value(name, of)} AND {self.value(name, of)}"
        if kind == "null":
            return f"{written} IS {self.pick('', 'NOT ')}NULL"
        if kind == "pair":
            other = self.column(tables, of)[0]
            return f"{written} {operator} {other}"
        if kind == "outer":
            options = [item for item in outer if any(k == of for k in item.columns.values())]
            if options:
                table = self.random.choice(options)
                names = [n for n, k in table.columns.items() if k == of]
                other = name if name in names else self.random.choice(names)
                return f"{written} {operator} {table.alias}.{other}"
        if kind in ("cut", "turned", "bare", "range"):
            return self.cut(kind, self.random.choice(scored))
        if kind == "or":
            both = [self.predicate(tables, outer, depth - 1) for _ in range(2)]
            return f"({' OR '.join(both)})"
        if kind == "not":
            return f"NOT ({self.predicate(tables, outer, depth - 1)})"
        if kind in ("member", "exists", "scalar"):
            return self.nested(kind, written, name, of, [*tables, *outer], depth)
        return f"{written} {operator} {value}"

    def cut(self, kind: str, table: Table) -> str:
        """Return a condition on a score."""
        cut = self.pick("0.05", "0.1", "0.2", "0.35")
        if kind == "bare":
            call = f"IS_MATCH({table.alias}.frame, {self.text()})"
            return self.pick(call, f"NOT {call}", f"{call} = true", f"{call} IS NOT TRUE")
        score = f"CLIP_MATCH({table.alias}.frame, {self.text()})"
        if kind == "range":
            return f"{score} BETWEEN {cut} AND 0.5"
        if kind == "turned":
            return f"{cut} {self.pick('<', '>=')} {score} {self.pick('', '- 0.05', '+ 0.01 * 2')}"
        return f"{score} {self.pick('>', '>=', '<', '<=')} {cut} {self.pick('', '+ 0.05')}"

    def nested(
        self, kind: str, written: str, name: str, of: str, around: list[Table], depth: int
    ) -> str:
        """Return a condition with a query in it, correlated or not."""
        correlated = around if self.chance(0.6) else []
        source, tables, where = self.sources(correlated, depth - 1)
        if kind == "exists":
            limit = self.pick("", "", " LIMIT 1")
            return f"{self.pick('', 'NOT ')}EXISTS (SELECT 1 FROM {source}{where}{limit})"
        same = [f"{t.alias}.{n}" for t in tables for n, k in t.columns.items() if n == name]
        same = same or [f"{t.alias}.{n}" for t in tables for n, k in t.columns.items() if k == of]
        column = self.random.choice(same) if same else "NULL"
        if kind == "member":
            word = self.pick("IN", "IN", "NOT IN")
            return f"{written} {word} (SELECT {column} FROM {source}{where})"
        made = self.pick("max", "min", "count")
        comparison = self.pick("=", "<", ">=")
        if made == "count":
            return f"(SELECT count(*) FROM {source}{where}) > 1"
        return f"{written} {comparison} (SELECT {made}({column}) FROM {source}{where})"

    def where(self, tables: list[Table], outer: list[Table], depth: int) -> str:
        count = self.random.choice((0, 1, 1, 2, 3))
        parts = [self.predicate(tables, outer, depth) for _ in range(count)]
        return f" WHERE {' AND '.join(parts)}" if parts else ""

    # FROM

    def sources(self, outer: list[Table], depth: int) -> tuple[str, list[Table], str]:
        """Return a FROM clause, the tables that it offers, and a WHERE clause."""
        written, tables = self.entry(outer, depth)
        for _ in range(self.random.choice((0, 0, 1, 1, 1, 2) if depth > 0 else (0, 0, 1))):
            written, tables = self.joined(written, tables, outer, depth)
        linked = ""
        if len(tables) == 1 and self.chance(0.2):
            self.note("comma")
            right, added = self.base()
            if "video_id" in tables[0].columns and self.chance(0.7):
                linked = f"{added[0].alias}.video_id = {tables[0].alias}.video_id"
            written, tables = f"{written}, {right}", [*tables, *added]
        where = self.where(tables, outer, depth)  # knows all tables: no bare name of two
        if linked:
            where = f"{where} AND {linked}" if where else f" WHERE {linked}"
        return written, tables, where

    def entry(self, outer: list[Table], depth: int) -> tuple[str, list[Table]]:
        kind = self.pick("base", "base", "base", *(["derived", "nested"] if depth > 0 else []))
        if kind == "derived":
            self.note("derived")
            inner, columns, handle = self.derived(depth - 1)
            table = Table(self.name("d"), columns, handle)
            return f"({inner}) {table.alias}", [table]
        if kind == "nested":
            self.note("nested join")
            left, tables = self.base()
            written, tables = self.joined(left, tables, outer, 0)
            return f"({written})", tables
        return self.base()

    def base(self) -> tuple[str, list[Table]]:
        relation = self.pick(*["frames"] * 6, *["videos", "gops"] * 2, *OF_VIEWS)
        if relation in OF_VIEWS:
            self.note("view")
            table = Table(self.name(relation[0]), dict(OF_VIEWS[relation]), relation == "dogs")
            return f"{relation} {table.alias}", [table]
        table = Table(self.name(relation[0]), dict(RELATIONS[relation]), relation == "frames")
        return f"{relation} {table.alias}", [table]

    def joined(
        self, left: str, tables: list[Table], outer: list[Table], depth: int
    ) -> tuple[str, list[Table]]:
        kind = self.pick("inner", "inner", "using", "left", "left", "right", "full", "semi", "anti",
                         "cross", "lateral", "left lateral", "natural")  # fmt: skip
        keyed = [table for table in tables if "video_id" in table.columns]
        if kind == "natural":  # only where video_id alone is in both
            kind = "using"
        if not keyed or (kind == "using" and len(keyed) > 1):
            kind = "cross"
        self.note(f"{kind} join")
        if kind in ("lateral", "left lateral") and depth > 0:
            inner, columns = self.top_k([*tables, *outer], 0)
            table = Table(self.name("l"), columns)
            tail = " ON true" if kind == "left lateral" else ""
            word = " LEFT JOIN LATERAL" if tail else ","
            return f"{left}{word} ({inner}) {table.alias}{tail}", [*tables, table]
        right, added = self.entry([], depth - 1) if depth > 0 else self.base()
        with_key = [table for table in added if "video_id" in table.columns]
        if kind in ("cross", "lateral", "left lateral") or not with_key:
            if len(tables) > 1:
                return left, tables
            return f"{left} CROSS JOIN {right}", [*tables, *added]
        if kind == "using":
            if len(with_key) > 1:
                return left, tables
            return f"{left} JOIN {right} USING (video_id)", [*tables, *added]
        first, second = self.random.choice(keyed), self.random.choice(with_key)
        on = f"{first.alias}.video_id = {second.alias}.video_id"
        if self.chance(0.4):
            on += f" AND {self.predicate([*tables, *added], outer, 0)}"
        word = {"inner": "JOIN"}.get(kind, f"{kind.upper()} JOIN")
        seen = tables if kind in ("semi", "anti") else [*tables, *added]
        return f"{left} {word} {right} ON {on}", seen

    def derived(self, depth: int) -> tuple[str, dict[str, str], bool]:
        """Return a query for FROM with its columns, and whether it shows frames unchanged."""
        if self.chance(0.45):
            source, tables, where = self.sources([], depth)
            scored = [table for table in tables if table.handle]
            if scored and scored[0].alias.startswith("f"):
                alias = scored[0].alias
                extra = ""
                columns = dict(RELATIONS["frames"])
                if self.chance(0.4):
                    extra = f", {self.score(scored[0])} AS s"
                    columns["s"] = "f"
                return f"SELECT {alias}.*{extra} FROM {source}{where}", columns, True
        kind = self.pick("select", "grouped", "topk", "distinct", "setop")
        if kind == "grouped":
            return (*self.grouped([], depth), False)
        if kind == "topk":
            return (*self.top_k([], depth), False)
        if kind == "setop":
            inner = f"SELECT video_id, {self.pick('frame', 'seconds')} AS x FROM frames"
            other = f"SELECT video_id, {self.pick('gop', 'start_seconds')} FROM gops"
            word = self.pick("UNION", "UNION ALL", "EXCEPT", "INTERSECT")
            return f"{inner} {word} {other}", {"video_id": "n", "x": "n"}, False
        written, columns = self.select([], depth, distinct=kind == "distinct")
        return written, columns, False

    # SELECT

    def items(self, tables: list[Table]) -> tuple[list[str], dict[str, str]]:
        """Return a SELECT list with names of its own, some of them those of columns."""
        written: list[str] = []
        columns: dict[str, str] = {}
        scored = [table for table in tables if table.handle]
        for _ in range(self.random.choice((1, 2, 3))):
            name, _, kind = self.column(tables)
            alias = self.random.choice(SHADOWS) if self.chance(0.3) else self.name("c")
            made = self.pick("column", "column", "sum", "case", "score", "window")
            if made == "score" and scored:
                name, kind = self.score(self.random.choice(scored)), "f"
                name += self.pick("", " * 2", " + 0.1")
            elif made == "sum" and kind == "n":
                name = f"{name} + {self.pick('1', '100')}"
            elif made == "case":
                name, kind = f"CASE WHEN {name} IS NULL THEN 0 ELSE 1 END", "n"
            elif made == "window":
                self.note("window")
                key = self.column(tables, "n")[0]
                name, kind = f"count(*) OVER (PARTITION BY {key})", "n"
            if alias not in columns:
                written.append(f"{name} AS {alias}")
                columns[alias] = kind
        return written, columns

    def select(
        self, outer: list[Table], depth: int, *, distinct: bool = False
    ) -> tuple[str, dict[str, str]]:
        source, tables, where = self.sources(outer, depth)
        items, columns = self.items(tables)
        scored = [table for table in tables if table.handle]
        if depth > 0 and self.chance(0.2):
            self.note("scalar in SELECT")
            inner, inner_tables, inner_where = self.sources(tables, 0)
            made = self.column(inner_tables, "n")[0]
            if "." in made:
                items.append(f"(SELECT max({made}) FROM {inner}{inner_where}) AS q")
                columns["q"] = "n"
        qualify = ""
        if scored and self.chance(0.25) and not distinct:
            self.note("qualify")
            table = self.random.choice(scored)
            order = f"{self.score(table)} DESC, {all_columns(tables)}"
            part = self.column(tables, "n")[0]
            qualify = f" QUALIFY row_number() OVER (PARTITION BY {part} ORDER BY {order}) <= 2"
        word = "DISTINCT " if distinct else ""
        tail = ""
        if self.chance(0.3):
            self.note("limit")
            tail = f" ORDER BY ALL LIMIT {self.pick('1', '3', '7', '10%')}"
        return f"SELECT {word}{', '.join(items)} FROM {source}{where}{qualify}{tail}", columns

    def top_k(self, outer: list[Table], depth: int) -> tuple[str, dict[str, str]]:
        """Return the best rows by a score, other columns deciding among equals."""
        frames = Table(self.name("f"), dict(RELATIONS["frames"]), handle=True)
        source, tables = f"frames {frames.alias}", [frames]
        if self.chance(0.5):
            videos = Table(self.name("v"), dict(RELATIONS["videos"]))
            tables.append(videos)
            source += f" {self.pick('', 'LEFT ', 'SEMI ')}JOIN videos {videos.alias} ON"
            source += f" {videos.alias}.video_id = {frames.alias}.video_id"
            tables = tables[:1] if "SEMI" in source else tables
        where = self.where(tables, outer, depth)
        if outer and self.chance(0.8):
            keyed = [table for table in outer if "video_id" in table.columns]
            if keyed:
                link = f"{frames.alias}.video_id = {self.random.choice(keyed).alias}.video_id"
                where = f"{where} AND {link}" if where else f" WHERE {link}"
        score = f"CLIP_MATCH({frames.alias}.frame, {self.text()})"
        tie = self.pick("", f", {frames.alias}.frame", f", {frames.alias}.seconds")
        way = self.pick("DESC", "DESC", "DESC", "ASC")
        limit = self.pick("1", "2", "5", "5 OFFSET 2", *([] if outer else ["10%"]))
        alias = self.pick("s", "seconds", "frame")
        order = self.pick(score, alias if alias == "s" else score)
        return (
            f"SELECT {frames.alias}.video_id AS vid, {score} AS {alias} FROM {source}{where}"
            f" ORDER BY {order} {way}{tie} LIMIT {limit}",
            {"vid": "n", alias: "f"},
        )

    def grouped(self, outer: list[Table], depth: int) -> tuple[str, dict[str, str]]:
        source, tables, where = self.sources(outer, depth)
        keys = list(
            dict.fromkeys(self.column(tables)[0] for _ in range(self.random.choice((1, 2))))
        )
        scored = [table for table in tables if table.handle]
        made = f"max({self.score(scored[0])})" if scored else "count(*)"
        having = self.pick("", f" HAVING {made} > 0.3", " HAVING count(*) > 1")
        group = self.pick(
            ", ".join(keys), f"ROLLUP ({', '.join(keys)})", f"CUBE ({', '.join(keys)})",
            f"GROUPING SETS (({keys[0]}), ())",
        )  # fmt: skip
        self.note(group.split(" (")[0] if "(" in group else "group by")
        shown = keys[:1] if "SETS" in group else keys
        items = [f"{key} AS k{index}" for index, key in enumerate(shown)]
        kinds = {
            written: kind
            for table in tables
            for name, kind in table.columns.items()
            for written in (name, f"{table.alias}.{name}")
        }
        columns = {f"k{index}": kinds.get(key, "n") for index, key in enumerate(shown)}
        sql = f"SELECT {', '.join([*items, made + ' AS m'])} FROM {source}{where} GROUP BY {group}"
        return sql + having, {**columns, "m": "f"}

    # whole statements

    def with_ctes(self) -> str:
        inner, columns, handle = self.derived(1)
        one = Table("c", columns, handle)
        self.note("cte read twice")
        if self.chance(0.5) or not columns:
            other, more = self.base()
            keyed = "video_id" in columns and "video_id" in more[0].columns
            on = f"c.video_id = {more[0].alias}.video_id" if keyed else "true"
            source, tables = f"c {self.pick('', 'LEFT ')}JOIN {other} ON {on}", [one, *more]
        else:
            two = Table("c2", columns, handle)
            key = next(iter(columns))
            source, tables = f"c JOIN c c2 ON c.{key} = c2.{key}", [one, two]
        items, _ = self.items(tables)
        stars = self.pick("", ", c.*", "")
        where = self.where(tables, [], 1)
        return f"WITH c AS ({inner}) SELECT {', '.join(items)}{stars} FROM {source}{where}"
