"""What a statement may not contain, whatever DuckDB would make of it."""

from sqlglot import exp

from engine.errors import BindError, ParseError, unknown
from engine.planner.parse import Statement
from engine.planner.place import position_of
from engine.planner.relations import RELATIONS
from engine.planner.texts import OF_COLUMN
from engine.planner.views import is_cte

_CHANGES = (
    exp.DDL,
    exp.DML,
    exp.Command,
    exp.Into,
    exp.Copy,
    exp.Set,
    exp.Pragma,
    exp.Attach,
    exp.Detach,
    exp.Describe,
    exp.Summarize,
    exp.Use,
    exp.Drop,
    exp.Alter,
    exp.Merge,
)
_CALLED = ("moments", "detections", "nearest")
_TABLES = (exp.Unnest, exp.GenerateSeries, exp.Values)
_FORBIDDEN_FUNCTIONS = frozenset(
    {
        "current_setting",
        "set_config",
        "getenv",
        "getvariable",
        "nextval",
        "currval",
        "sleep_ms",
        "pg_sleep",
        "write_log",
        "query",
        "query_table",
        "in_search_path",
        "inet_client_addr",
        "inet_client_port",
        "inet_server_addr",
        "inet_server_port",
        "add_parquet_key",
        "current_query",
        "read_text",
        "read_blob",
        "glob",
    }
)
_FORBIDDEN_PREFIXES = (
    "duckdb_",
    "pragma_",
    "pg_",
    "read_",
    "has_",
    "icu_",
    "__internal",
    "json_serialize",
    "json_deserialize",
    "json_execute",
)


def check_safe(statement: Statement) -> None:
    """Refuse everything but a SELECT over known relations with harmless functions."""
    names = {cte.alias.lower() for cte in statement.query.find_all(exp.CTE)}
    for node in statement.query.walk():
        if isinstance(node, exp.Query):
            continue
        if isinstance(node, _CHANGES):
            word = type(node).__name__.upper()
            raise ParseError(
                f"only SELECT is accepted, got {word}",
                sql=statement.sql,
                position=position_of(node),
            )
        if isinstance(node, exp.Lateral) and node.this.name.lower() == "moments":
            raise BindError(OF_COLUMN, sql=statement.sql, position=position_of(node))
        if isinstance(node, exp.Table):
            _check_table(node, names, statement)
        elif isinstance(node, exp.Func):
            _check_function(node, statement)


def _check_table(table: exp.Table, names: set[str], statement: Statement) -> None:
    if isinstance(table.this, _TABLES):
        return
    name = _table_name(table)
    call = isinstance(table.this, exp.Func)
    known = name in _CALLED if call else name in RELATIONS or (name in names and is_cte(table))
    if table.args.get("db") or table.args.get("catalog") or not known:
        what = "table function" if call else "relation"
        allowed = (
            [*_CALLED, "range", "generate_series", "unnest"]
            if call
            else [*RELATIONS, *statement.vocabulary.selects, *names]
        )
        given = ".".join(part.name or part.sql("duckdb") for part in table.parts)
        raise BindError(
            unknown(what, name if call else given, allowed),
            sql=statement.sql,
            position=position_of(table),
        )


def _table_name(table: exp.Table) -> str:
    inner = table.this
    return (inner.sql_name() if _named(inner) else inner.name).lower() if inner else ""


def _named(node: exp.Expr) -> bool:
    return isinstance(node, exp.Func) and not isinstance(node, exp.Anonymous)


def _check_function(node: exp.Func, statement: Statement) -> None:
    name = (node.name if isinstance(node, exp.Anonymous) else node.sql_name()).lower()
    if name in _FORBIDDEN_FUNCTIONS or name.startswith(_FORBIDDEN_PREFIXES):
        raise BindError(
            f"function {name} is not allowed: a statement reaches nothing but the relations",
            sql=statement.sql,
            position=position_of(node),
        )
