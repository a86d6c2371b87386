"""Arguments of the public calls: of the kinds that are declared, or refused in one line."""

import inspect
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import wraps
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

from engine.errors import UsageError, unknown

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)
_LONGEST = 80  # characters of a value that are shown
_WORDS: Mapping[Any, str] = {
    str: "a text",
    bytes: "bytes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Path: "a path",
    types.NoneType: "None",
}
_NUMBERS: Mapping[Any, type] = {int: Integral, float: Real}


def checks_arguments(kind: C) -> C:
    """Let the public calls of a class refuse arguments that are not of their declared kinds."""
    for name, member in list(vars(kind).items()):
        if name.startswith("_"):
            continue
        if inspect.isfunction(member):
            setattr(kind, name, _checked(member))
        elif isinstance(member, classmethod):
            setattr(kind, name, classmethod(_checked(member.__func__)))
    return kind


def _checked(call: Callable[P, R]) -> Callable[P, R]:
    signature = inspect.signature(call)
    # what is declared by its name alone is imported later than this, and checked where it is used
    kinds = {
        name: each.annotation
        for name, each in signature.parameters.items()
        if each.annotation not in (each.empty, Any) and not isinstance(each.annotation, str)
        if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    }

    @wraps(call)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            if name in kinds and not _fits(value, kinds[name]):
                raise UsageError(_told(name, value, kinds[name]))
            if isinstance(value, Real) and hasattr(value, "item"):
                bound.arguments[name] = value.item()  # numpy's number as Python's
        return call(*bound.args, **bound.kwargs)

    return checked


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind, as an annotation says it; numpy's numbers are numbers."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(_fits(value, each) for each in inner)
    if origin is Literal:
        return isinstance(value, str) and value in inner
    if origin is Mapping:
        return isinstance(value, Mapping) and all(
            _fits(key, inner[0]) and _fits(each, inner[1]) for key, each in value.items()
        )
    if origin is Sequence:
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
            return False
        return not isinstance(value, Collection) or all(_fits(each, inner[0]) for each in value)
    if kind in _NUMBERS:
        return isinstance(value, _NUMBERS[kind]) and not isinstance(value, bool)
    return isinstance(value, kind) if isinstance(kind, type) else True


def _told(name: str, value: Any, kind: Any) -> str:
    """Say what was given and what is allowed; of a text among names the nearest one too."""
    listed = [each for each in _parts(kind) if get_origin(each) is Literal]
    if isinstance(value, str) and listed:
        return unknown(name, value, [*get_args(listed[0]), *_others(kind)])
    shown = " ".join(repr(value).split())
    shown = shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"
    return f"{name} is {shown}; allowed: {_words(kind)}"


def _parts(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _others(kind: Any) -> list[str]:
    """What is allowed beside names, None apart."""
    rest = (each for each in _parts(kind) if get_origin(each) is not Literal)
    return [_words(each) for each in rest if each is not types.NoneType]


def _words(kind: Any) -> str:
    """Put a kind into words; one of ours may say its own, as `WORDS`."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return ", ".join(_words(each) for each in inner)
    if origin is Literal:
        return ", ".join(map(str, inner))
    if origin is Sequence:
        return f"a list, each {' or '.join(_words(each) for each in _parts(inner[0]))}"
    if origin is Mapping:
        values = "any value" if inner[1] is Any else _words(inner[1])
        return f"a mapping of {_words(inner[0])} to {values}"
    return _WORDS.get(kind) or getattr(kind, "WORDS", None) or str(getattr(kind, "__name__", kind))
