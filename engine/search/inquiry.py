"""What something that looks is asked of pictures, and what of them is looked at at once."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias

import pyarrow as pa

_KINDS: Final = {
    "string": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()
}  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Sight:
    """What is looked at at once: frames of a video, in time order."""

    video_id: int
    frames: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class YesNo:
    """Whether it is so; the answer is a truth value."""

    question: str

    def __str__(self) -> str:
        return self.question


@dataclass(frozen=True, slots=True)
class OneOf:
    """Which of some labels fits best; the answer is one of them."""

    labels: tuple[str, ...]
    question: str = "What does this show?"

    @property
    def kind(self) -> pa.DataType:
        """Of a column of answers."""
        return pa.string()

    @property
    def call(self) -> str:
        """The function that asks so, for messages."""
        return "AI_CLASSIFY"

    def __str__(self) -> str:
        return f"{self.question!r} out of {len(self.labels)} labels"


@dataclass(frozen=True)
class Filled:
    """What a form of fields is filled with; the answer is an object of a checked JSON schema."""

    form: str  # the schema, as JSON

    @cached_property
    def schema(self) -> Mapping[str, Any]:
        """The schema as a value."""
        found: Mapping[str, Any] = json.loads(self.form)
        return found

    @property
    def kind(self) -> pa.DataType:
        """Of a column of answers."""
        return _arrow(self.schema)

    @property
    def call(self) -> str:
        """The function that asks so, for messages."""
        return "AI_EXTRACT"

    def __str__(self) -> str:
        return ", ".join(self.schema["properties"])


Inquiry: TypeAlias = YesNo | OneOf | Filled
Asked: TypeAlias = tuple[Sight, Inquiry]


def value_of(answer: Any, kind: pa.DataType) -> Any:
    """Return an answer as a column of a kind holds it; what has no kind of its own is JSON."""
    if answer is None:
        return None
    if pa.types.is_struct(kind) and isinstance(answer, Mapping):
        return {part.name: value_of(answer.get(part.name), part.type) for part in kind}
    if pa.types.is_list(kind) and isinstance(answer, list):
        return [value_of(each, kind.value_type) for each in answer]
    if pa.types.is_string(kind):
        return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
    return int(answer) if pa.types.is_integer(kind) else answer


def _arrow(schema: Mapping[str, Any]) -> pa.DataType:
    """Return the kind of a column for values of a schema; VARCHAR for what has no other."""
    told = schema.get("type", [])
    kinds = [each for each in ([told] if isinstance(told, str) else told) if each != "null"]
    kind = kinds[0] if len(kinds) == 1 else ""
    if kind == "object" and schema.get("properties"):
        parts = schema["properties"].items()
        return pa.struct([pa.field(name, _arrow(part)) for name, part in parts])
    if kind == "array" and isinstance(schema.get("items"), Mapping):
        return pa.list_(_arrow(schema["items"]))
    return _KINDS.get(kind, pa.string())
