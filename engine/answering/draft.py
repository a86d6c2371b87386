"""What a model is asked about some moments, and its reply as an answer with claims."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from engine.results import NOT_SHOWN
from engine.search.schema import misfit
from schemas.letters import half_letter

_NONE: Final = "NOT SHOWN"
_PLAIN: Final = (
    "Answer the question from these moments alone, in at most four short sentences. End each"
    " sentence with the numbers of the moments that show it, as [1] or [1, 3]. If they do not show"
    f" what is asked, answer only: {_NONE}"
)
_CHOICES: Final = (
    "First write, on a line of its own, exactly one of these answers:\n{choices}\nThen say in one"
    " or two short sentences what shows it, each ending with the numbers of the moments, as [1]. If"
    f" the moments do not show what is asked, answer only: {_NONE}"
)
_SCHEMA: Final = (
    'Answer from these moments alone with one JSON object and nothing else: {{"answer": …,'
    ' "claims": [{{"text": "…", "moments": [1]}}]}}. The answer follows this JSON schema: {schema}.'
    " The claims say in short sentences what was seen, each with the numbers of the moments that"
    ' show it. If they do not show what is asked, write {{"answer": null, "claims": []}}.'
)
_CITED: Final = re.compile(r"\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")
_SENTENCE: Final = re.compile(r"(?<=[.!?\]])\s+(?=[^\[\s])|\n+")
_FENCE: Final = re.compile(r"^```[a-z]*\s*(.*?)\s*```$", re.DOTALL)
_MOST_CLAIMS: Final = 20


@dataclass(frozen=True, slots=True)
class Draft:
    """An answer before anything of it is checked; claims with the places of their moments."""

    text: str
    choice: int | None
    claims: tuple[tuple[str, tuple[int, ...]], ...]
    data: Any = None


def request(question: str, choices: Sequence[str] | None, schema: Mapping[str, Any] | None) -> str:
    """Put a question about moments that were shown into words."""
    if schema is not None:
        told = _SCHEMA.format(schema=json.dumps(schema))
    elif choices is not None:
        told = _CHOICES.format(choices="\n".join(choices))
    else:
        told = _PLAIN
    return f"Question: {question}\n{told}"


def read_draft(
    reply: str, choices: Sequence[str] | None, schema: Mapping[str, Any] | None
) -> Draft:
    """Read a reply; ValueError says in one line why it is none."""
    text = reply.strip()
    if not text:
        raise ValueError("it said nothing")
    if schema is not None:
        return _of_json(text, choices, schema)
    if text.strip("*_\"'`. ").upper() == _NONE:
        return Draft(NOT_SHOWN, None, ())
    if choices is None:
        return Draft(text, None, _claims(text))
    first, _, rest = text.partition("\n")
    choice = chosen(first, choices)
    return Draft(choices[choice], choice, _claims(rest) or _claims(text))


def chosen(line: str, choices: Sequence[str]) -> int:
    """Return which of the choices a line names: it begins with it, or holds no other."""
    said = line.strip().strip("*_\"'`-.: ").lower()
    begun = [at for at, choice in enumerate(choices) if _starts(said, choice.lower())]
    held = [
        at for at, choice in enumerate(choices)
        if re.search(rf"(?<!\w){re.escape(choice.lower())}(?!\w)", said)
    ]  # fmt: skip
    found = [max(begun, key=lambda at: len(choices[at]))] if begun else held
    if len(found) != 1:
        raise ValueError(f"it answered {line[:80]!r}; expected one of {', '.join(choices)}")
    return found[0]


def _starts(said: str, choice: str) -> bool:
    return said.startswith(choice) and not said[len(choice) : len(choice) + 1].isalnum()


def _claims(text: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return the sentences of a text with the places of the moments that they name."""
    found = []
    for sentence in _SENTENCE.split(text):
        cited = [int(n) - 1 for group in _CITED.findall(sentence) for n in group.split(",")]
        bare = " ".join(_CITED.sub("", sentence).split()).strip("*- ").replace(" .", ".")
        if any(letter.isalnum() for letter in bare):
            found.append((bare, tuple(dict.fromkeys(at for at in cited if at >= 0))))
    return tuple(found[:_MOST_CLAIMS])


def json_of(text: str) -> Any:
    """Read JSON, fenced or not; ValueError says in one line why it is none."""
    fenced = _FENCE.match(text.strip())
    try:
        found = json.loads(fenced.group(1) if fenced else text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON: {text[:60]!r}") from error
    if half_letter(found) is not None:
        raise ValueError("it holds half of a surrogate pair")
    return found


def _of_json(text: str, choices: Sequence[str] | None, schema: Mapping[str, Any]) -> Draft:
    found = json_of(text)
    if not isinstance(found, dict) or "answer" not in found:
        raise ValueError("it is no JSON object with an answer")
    data = found["answer"]
    if data is None:
        return Draft(NOT_SHOWN, None, ())
    wrong = misfit(data, schema)
    if wrong:
        raise ValueError(f"its answer does not fit the schema: {wrong}")
    said = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    choice = chosen(said, choices) if choices is not None else None
    return Draft(said, choice, _claims_of(found.get("claims")), data)


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON")


def _claims_of(listed: Any) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return the claims of a JSON reply; what is no claim is left out."""
    found = []
    for each in listed if isinstance(listed, list) else ():
        text = each.get("text") if isinstance(each, dict) else None
        places = each.get("moments") if isinstance(each, dict) else None
        if isinstance(text, str) and text.strip():
            cited = places if isinstance(places, list) else []
            numbers = [at - 1 for at in cited if type(at) is int and at > 0]
            found.append((" ".join(text.split()), tuple(dict.fromkeys(numbers))))
    return tuple(found[:_MOST_CLAIMS])


def schema_of_reply(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a whole reply whose answer has a schema."""
    claim = {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "moments": {"type": "array", "items": {"type": "integer"}},
        },
        "required": ["text", "moments"],
    }
    return {
        "type": "object",
        "properties": {
            "answer": {"anyOf": [dict(schema), {"type": "null"}]},
            "claims": {"type": "array", "items": claim},
        },
        "required": ["answer", "claims"],
    }
