"""Texts that no UTF-8 can hold are the caller's fault, wherever in a request they stand."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.config import ServerSettings
from engine.session import Engine
from tests.api.conftest import URL

JSON = {"Content-Type": "application/json"}
HALVES = ("\ud800", "a\udfff")
BROKEN = ("%ED%A0%80", "%FF", "%C3", "%00")


@pytest.fixture(scope="module")
def asked(own_engine: Engine) -> Iterator[TestClient]:
    """A server whose unforeseen errors are answers too."""
    app = create_app(own_engine, ServerSettings(video_roots="/"))
    with TestClient(app, base_url=URL, raise_server_exceptions=False) as opened:
        yield opened


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield method, path, operation


def _resolved(schema: Any, document: dict[str, Any]) -> Any:
    """Return a schema whose references within it are followed."""
    if isinstance(schema, list):
        return [_resolved(item, document) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        found: Any = document
        for name in schema["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        return _resolved(found, document)
    return {name: _resolved(item, document) for name, item in schema.items()}


def _spoilt(example: dict[str, Any], schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Put a half letter into every field of a request, as a text, a key, an item, and deeper."""
    for half in HALVES:
        for name in schema["properties"]:
            for value in (half, {half: 1}, [half], {"a": half}, [[{"b": [half]}]]):
                yield {**example, name: value}
        for name, inner in schema["properties"].items():
            for deeper in inner.get("properties", {}):
                yield {**example, name: {deeper: half}}
        yield {**example, half: half}


def _told(answer: httpx.Response) -> dict[str, Any]:
    """Read a problem as what does not forgive would."""
    said = json.loads(answer.content.decode("utf-8"))
    json.dumps(said, ensure_ascii=False).encode("utf-8")
    return dict(said)


def test_halves_of_letters_anywhere_in_a_body_are_422(asked: TestClient) -> None:
    document, tried = asked.app.openapi(), set()  # type: ignore[attr-defined]
    for method, path, operation in _operations(document):
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if body is None:
            continue
        tried.add(path)
        schema = _resolved(body["schema"], document)
        for given in _spoilt(schema["examples"][0], schema):
            url = re.sub(r"\{\w+\}", "1", path)
            answer = asked.request(method, url, content=json.dumps(given), headers=JSON)
            said = _told(answer)
            assert answer.status_code == 422, (path, given, said)
            told = ("surrogate", "hex escape")  # the second by what reads the body of /videos
            assert any(word in said["detail"] for word in told), (path, given, said)
    assert tried >= {"/query", "/sql", "/explain", "/columns", "/videos", "/videos/deepen"}


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_no_text_in_a_path_or_a_query_is_never_our_fault(
    asked: TestClient, broken: str
) -> None:
    document = asked.app.openapi()  # type: ignore[attr-defined]
    for method, path, operation in _operations(document):
        named = [each for each in operation.get("parameters", []) if each["in"] != "header"]
        for wrong in named:
            filled, query = path, ""
            for each in named:
                value = broken if each is wrong else str(each["schema"].get("minimum", 1))
                filled = filled.replace(f"{{{each['name']}}}", value)
                if each["in"] == "query" and (each is wrong or each["required"]):
                    query += f"&{each['name']}={value}"
            answer = asked.request(method, f"{filled}?{query[1:]}&{broken}=1")
            assert answer.status_code < 500, (method, filled, query, answer.text)
            if answer.status_code >= 400:
                _told(answer)


@pytest.mark.parametrize("half", HALVES)
def test_every_problem_can_be_told(asked: TestClient, half: str) -> None:
    for path, sent in (("/query", half), ("/sql", [half]), ("/columns", {half: half})):
        answer = asked.post(path, content=json.dumps(sent), headers=JSON)
        assert answer.status_code == 422
        assert _told(answer)["errors"]
