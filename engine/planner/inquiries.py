"""What AI_CLASSIFY, AI_EXTRACT and AI_JOIN ask of each row, read from their arguments."""

import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlglot import exp

from engine.errors import UsageError, unknown
from engine.planner.logical import Plan, Tell, TellTexts
from engine.planner.relations import FORMS
from engine.search.inquiry import Filled, OneOf
from engine.search.schema import check_schema

_CANDIDATES = 3
_HOLDS = "Does this show {}?"
_MOST_LABELS = 100


def read_tell(call: exp.Anonymous, source: Plan, name: str) -> Tell:
    """Return what AI_CLASSIFY or AI_EXTRACT asks; UsageError for what is none."""
    plain, named = _arguments(call, ("max_calls",))
    most = named.get("max_calls")
    if call.name.lower() == "ai_extract":
        if len(plain) != 1:
            raise UsageError(f"expected {FORMS['ai_extract']}")
        return Tell(source, name, Filled(_form(plain[0], call)), most)
    if not 1 <= len(plain) <= 2:
        raise UsageError(f"expected {FORMS['ai_classify']}")
    labels = _texts(plain[0], call)
    if not 2 <= len(labels) <= _MOST_LABELS:
        raise UsageError(f"{len(labels)} labels; allowed: 2 to {_MOST_LABELS}")
    _check_apart(labels, "label")
    asked = OneOf(labels) if len(plain) == 1 else OneOf(labels, _text(plain[1], call))
    return Tell(source, name, asked, most)


def read_pair(call: exp.Anonymous, source: Plan, name: str) -> TellTexts:
    """Return what AI_JOIN asks of the texts that it has been given; UsageError for what is none."""
    plain, named = _arguments(call, ("candidates", "max_calls"))
    if not 1 <= len(plain) <= 2:
        raise UsageError(f"expected {FORMS['ai_join']}")
    question = _HOLDS if len(plain) == 1 else _text(plain[1], call)
    if "{}" not in question:
        raise UsageError(f"{question!r} has no {{}} where the text is to stand")
    texts = tuple(dict.fromkeys(_texts(plain[0], call)))
    candidates = named.get("candidates", _CANDIDATES)
    return TellTexts(source, name, texts, question, candidates, named.get("max_calls"))


def _arguments(
    call: exp.Anonymous, names: Collection[str]
) -> tuple[list[exp.Expr], dict[str, int]]:
    """Return the arguments behind the handle, and those with a name: whole numbers."""
    kind, plain, named = call.name.lower(), list[exp.Expr](), dict[str, int]()
    for node in call.expressions[1:]:
        if not isinstance(node, exp.PropertyEQ):
            if named:
                raise UsageError(f"expected {FORMS[kind]}, got {node.sql('duckdb')}")
            plain.append(node)
            continue
        name, value = node.name.lower(), node.expression
        if name not in names:
            raise UsageError(unknown(f"argument of {kind.upper()}", name, names))
        if name in named:
            raise UsageError(f"{name} is given twice")
        number = float(value.this) if _is_number(value) else 0.0
        if number < 1 or number != int(number):
            raise UsageError(f"{name} is {value.sql('duckdb')}; allowed: whole numbers from 1")
        named[name] = int(number)
    return plain, named


def _is_number(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and not node.is_string


def _text(node: exp.Expr, call: exp.Anonymous) -> str:
    if not isinstance(node, exp.Literal) or not node.is_string or not node.this.strip():
        raise UsageError(f"expected {FORMS[call.name.lower()]}, got {node.sql('duckdb')}")
    return str(node.this)


def _texts(node: exp.Expr, call: exp.Anonymous) -> tuple[str, ...]:
    if not isinstance(node, exp.Array):
        raise UsageError(f"expected {FORMS[call.name.lower()]}, got {node.sql('duckdb')}")
    return tuple(_text(each, call) for each in node.expressions)


def _check_apart(names: Sequence[str], what: str) -> None:
    """Refuse names that only their case tells apart."""
    seen: dict[str, str] = {}
    for name in names:
        if name.strip().lower() in seen:
            raise UsageError(f"the {what} {name!r} is given twice")
        if len(name.splitlines()) > 1:
            raise UsageError(f"the {what} {name!r} has more than one line")
        seen[name.strip().lower()] = name


def _form(node: exp.Expr, call: exp.Anonymous) -> str:
    """Return the JSON schema of a form: of fields by their names, or one that is written out."""
    if isinstance(node, exp.Array):
        names = _texts(node, call)
        _check_apart(names, "field")
        parts: dict[str, Any] = {name: {"type": ["string", "null"]} for name in names}
        if not parts:
            raise UsageError(f"expected {FORMS['ai_extract']}, got no field")
        told = {"type": "object", "properties": parts, "required": list(parts)}
        return json.dumps({**told, "additionalProperties": False})
    text = _text(node, call)
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the schema is no JSON: {error}") from error
    check_schema(schema)
    if schema.get("type") != "object" or not schema.get("properties"):
        raise UsageError('the schema is of no object with fields; allowed: {"type": "object",'
                         ' "properties": {"colour": {"type": "string"}, …}}')  # fmt: skip
    _check_apart(list(schema["properties"]), "field")
    return json.dumps(schema)
