"""What is wrong with a request, in the engine's words: given, allowed, the nearest name."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from engine.errors import unknown

_SHORT = 80  # letters of a value that is told back
_WORDS = {
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "more than",
}
_ALLOWED = re.compile(r"^(?:Input|String|List|Dictionary|Data|Value) should (?:be|have) ")


def fault(error: Mapping[str, Any], content_type: str, body: type | None) -> dict[str, str]:
    """Say where a request is not valid and what is allowed there, from what pydantic found."""
    place, given = error["loc"][1:], error.get("input")
    if error["type"] == "json_invalid":
        where = f" at character {place[0]}" if place else ""
        return {"at": "", "problem": f"the body is not JSON{where}: {error['ctx']['error']}"}
    if error["loc"] == ("body",) and not isinstance(given, Mapping):
        typed = f" under Content-Type {content_type}" if isinstance(given, bytes | str) else ""
        got = "nothing" if given is None else f"{len(given)} bytes" if typed else repr(given)[:20]
        said = f"expected a JSON object under Content-Type application/json, got {got}{typed}"
        return {"at": "", "problem": said}
    return {"at": ".".join(map(str, place)), "problem": _said(error, place, body)}


def _said(error: Mapping[str, Any], place: Sequence[Any], body: type | None) -> str:
    at, given, ctx = ".".join(map(str, place)), error.get("input"), error.get("ctx", {})
    if error["type"] == "extra_forbidden":
        of = " of ".join(("field", *map(str, reversed(place[:-1]))))
        return unknown(of, str(place[-1]), _fields(ctx.get("model", body), place[:-1]))
    if error["type"] == "missing":
        return f"{at} is missing"
    if error["type"] == "literal_error" and isinstance(given, str):
        return unknown(at, given[:_SHORT], re.findall(r"'([^']*)'", ctx["expected"]))
    short = isinstance(given, str | int | float | None) and len(str(given)) < _SHORT
    got = repr(given) if short else f"a {type(given).__name__}"
    allowed, matched = _ALLOWED.subn("", error["msg"])
    if not matched:
        said = error["msg"].removeprefix("Value error, ")
        return f"{at}: {said}" if at else said
    for long, plain in _WORDS.items():
        allowed = allowed.replace(long, plain)
    return f"{at} is {got}; allowed: {allowed}"


def _fields(model: Any, place: Sequence[Any]) -> list[str]:
    """Return the names that a model's part takes."""
    for name in place:
        model = model.model_fields[name].annotation
    return list(model.model_fields) if issubclass(model, BaseModel) else []
