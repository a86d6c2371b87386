"""The part of JSON Schema that answers are held to."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from engine.errors import UsageError, unknown

_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
    "number": lambda value: _is_number(value),
}
_KNOWN: Final = (
    *("type", "enum", "properties", "required", "additionalProperties", "items", "minItems"),
    *("maxItems", "minimum", "maximum", "minLength", "maxLength"),
)
_DEEPEST: Final = 20
_SAYING: Final = ("title", "description", "$schema", "examples", "default")  # checks nothing
_SIZES: Final = (
    ("minimum", "maximum", _TYPES["number"], lambda value: value),
    ("minItems", "maxItems", _TYPES["array"], len),
    ("minLength", "maxLength", _TYPES["string"], len),
)


def check_schema(schema: Any, at: str = "schema") -> None:
    """Raise UsageError for a schema that holds what is not held here."""
    if not isinstance(schema, Mapping):
        raise UsageError(f"{at} is no object; allowed: a JSON schema")
    if at.count(".") > _DEEPEST:
        raise UsageError(f"the schema is nested more than {_DEEPEST} deep")
    for name in schema:
        if name not in (*_KNOWN, *_SAYING):
            raise UsageError(f"{at}: {unknown('keyword', str(name), _KNOWN)}")
    for kind in _listed(schema.get("type", [])):
        if kind not in _TYPES:
            raise UsageError(f"{at}: {unknown('type', str(kind), _TYPES)}")
    if "enum" in schema and not (isinstance(schema["enum"], list) and schema["enum"]):
        raise UsageError(f"{at}: enum is no list of values")
    required = schema.get("required", [])
    if not (isinstance(required, list) and all(isinstance(name, str) for name in required)):
        raise UsageError(f"{at}: required is no list of names")
    for low, high, _, _ in _SIZES:
        for name in (low, high):
            if name in schema and not _is_number(schema[name]):
                raise UsageError(f"{at}: {name} is no number")
    inner = schema.get("properties", {})
    if not isinstance(inner, Mapping):
        raise UsageError(f"{at}: properties is no object")
    for name, part in inner.items():
        check_schema(part, f"{at}.{name}")
    for name in ("items", "additionalProperties"):
        if name in schema and not isinstance(schema[name], bool):
            check_schema(schema[name], f"{at}.{name}")


def misfit(value: Any, schema: Mapping[str, Any], at: str = "answer") -> str:
    """Say where a value first departs from a checked schema; nothing where it fits."""
    kinds = _listed(schema.get("type", []))
    if kinds and not any(_TYPES[kind](value) for kind in kinds):
        return f"{at} is no {' or '.join(kinds)}"
    if "enum" in schema and not any(_same(value, each) for each in schema["enum"]):
        return f"{at} is none of {', '.join(map(repr, schema['enum']))}"
    for low, high, is_kind, size in _SIZES:
        if is_kind(value):
            if low in schema and size(value) < schema[low]:
                return f"{at}: {low} is {schema[low]}"
            if high in schema and size(value) > schema[high]:
                return f"{at}: {high} is {schema[high]}"
    if isinstance(value, dict):
        return _misfit_of_object(value, schema, at)
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        told = (misfit(each, schema["items"], f"{at}[{n}]") for n, each in enumerate(value))
        return next((each for each in told if each), "")
    return ""


def _misfit_of_object(value: Mapping[str, Any], schema: Mapping[str, Any], at: str) -> str:
    lacking = next((name for name in schema.get("required", ()) if name not in value), None)
    if lacking is not None:
        return f"{at} lacks {lacking}"
    known, more = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name, each in value.items():
        if name not in known and more is False:
            return f"{at} has no {name[:40]}"
        part = known.get(name, more)
        said = misfit(each, part, f"{at}.{name[:40]}") if isinstance(part, Mapping) else ""
        if said:
            return said
    return ""


def _listed(kinds: Any) -> list[Any]:
    return kinds if isinstance(kinds, list) else [kinds]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(one: Any, other: Any) -> bool:
    """Whether two values are one in JSON, where true is not 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
