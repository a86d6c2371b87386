"""Errors are what the API's description says they are."""

import json
import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.errors import without_paths
from schemas.problem import Problem

WRONG: list[tuple[str, str, dict[str, Any], int]] = [
    ("post", "/query", {"json": {"text": ""}}, 422),
    ("post", "/query", {"json": {"text": "a star", "colour": 1, "top_k": 0}}, 422),
    ("post", "/query", {"content": b"{"}, 422),
    ("get", "/videos", {"params": {"limit": 0}}, 422),
    ("post", "/query", {"json": {"text": "a star", "videos": ["none.mp4"]}}, 404),
    ("get", "/videos/99", {}, 404),
    ("post", "/sql", {"json": {"sql": "SELECT secnds FROM frames"}}, 400),
    ("post", "/sql", {"json": {"sql": "DROP TABLE videos"}}, 400),
]


@pytest.fixture(scope="module")
def document(client: TestClient) -> dict[str, Any]:
    """What the API says of itself."""
    told: dict[str, Any] = client.get("/openapi.json").json()
    return told


@pytest.mark.parametrize(("method", "path", "request_", "status"), WRONG)
def test_an_error_is_as_it_is_described(
    client: TestClient,
    document: dict[str, Any],
    method: str,
    path: str,
    request_: dict[str, Any],
    status: int,
) -> None:
    answer = client.request(method, path, **request_)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    found = Problem.model_validate(answer.json())
    assert found.status == status
    assert found.request_id == answer.headers["x-request-id"]
    assert "\n" not in found.detail
    assert (found.errors is not None) == (status == 422)
    assert (found.caret is not None) == (path == "/sql")
    told = document["paths"]["/videos/{video_id}" if path == "/videos/99" else path][method]
    answers = told["responses"]
    ((media, content),) = answers[str(status)]["content"].items()
    assert media == "application/problem+json"
    assert content["schema"]["$ref"].rpartition("/")[2] == "Problem"


@pytest.mark.parametrize(
    ("method", "path", "request_", "detail"),
    [
        (
            "post",
            "/query",
            {"json": {"text": "a", "top_k": 0}},
            "^top_k is 0; allowed: at least 1",
        ),
        ("post", "/query", {"json": {"text": 7}}, r"^text is 7; allowed: a valid string$"),
        ("post", "/query", {"content": b'{"text": "a"'}, "^the body is not JSON at character 12: "),
        ("post", "/query", {"content": b'{"text": "\xff"}'}, "^the body cannot be read; .*UTF-8"),
        ("post", "/query", {"content": b"[" * 100_000}, "^the body cannot be read; "),
        ("post", "/query", {"json": ["a"]}, r"^expected a JSON object .*, got \['a'\]$"),
        ("post", "/query", {}, "^expected a JSON object .*, got nothing$"),
        ("post", "/query", {"content": b"x" * (2 << 20)}, "^2097152 bytes; allowed: 1048576$"),
        ("get", "/videos/1/clip.mp4?start=500&stop=501", {}, "^start 500, stop 501; .* is 0 to 4$"),
        ("get", "/query", {}, "^GET /query; allowed: POST$"),
        ("get", "/vidoes", {}, "^GET /vidoes is none of this API's endpoints; /docs lists them$"),
    ],
)
def test_an_error_says_what_was_given_and_what_is_allowed(
    client: TestClient, method: str, path: str, request_: dict[str, Any], detail: str
) -> None:
    headers = {"Content-Type": "application/json"} if method == "post" else {}
    answer = client.request(method, path, headers=headers, **request_)
    assert re.search(detail, Problem.model_validate(answer.json()).detail)


def test_json_under_another_name_is_told_apart(client: TestClient) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}  # what curl -d sends
    answer = client.post("/query", headers=headers, content=b'{"text": "a"}')
    detail = Problem.model_validate(answer.json()).detail
    assert "application/json, got 13 bytes under Content-Type application/x-www-form" in detail


def test_the_description_holds_our_errors_alone(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    form = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    assert schemas["Fault"] == form.pop("$defs")["Fault"]
    assert schemas["Problem"] == form
    assert not {"HTTPValidationError", "ValidationError"} & schemas.keys()


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/videos", "GET, HEAD, POST"),
        ("POST", "/videos/1", "DELETE, GET, HEAD"),
        ("POST", "/jobs/x/events", "GET, HEAD"),
        ("GET", "/sql", "POST"),
        ("HEAD", "/sql", "POST"),
        ("X1", "/livez", "GET, HEAD"),
    ],
)
def test_allow_names_every_method(client: TestClient, method: str, path: str, allowed: str) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    ("given", "status"), [("bytes=9999999-", 416), ("bytes=x", 400), ("pages=1-2", 400)]
)
def test_ranges_that_cannot_be_are_problems_too(
    client: TestClient, given: str, status: int
) -> None:
    url = "/videos/1/clip.mp4?start=0&stop=1"
    answer = client.get(url, headers={"Range": given})
    assert answer.status_code == status
    assert Problem.model_validate(answer.json()).status == status
    if status == 416:
        assert answer.headers["content-range"].startswith("bytes */")


HUGE = int("9" * 40)
NESTED = "(" * 3000 + "1" + ")" * 3000


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/query", {"text": "a", "videos": [HUGE]}),
        ("POST", "/query", {"text": "a", "videos": [-HUGE]}),
        ("POST", "/query", {"text": "a", "top_k": HUGE}),
        ("POST", "/query", {"text": "a", "options": {"refine_frames": HUGE}}),
        ("POST", "/query", {"text": "a\0b\ud800"}),
        ("POST", "/sql", {"sql": "SELECT $n AS n", "params": {"n": HUGE**3}}),
        ("POST", "/sql", {"sql": "SELECT 1", "options": {"fps": HUGE}}),
        ("POST", "/sql", {"sql": f"SELECT {NESTED}"}),
        ("GET", f"/videos/{HUGE}", None),
        ("DELETE", f"/videos/{HUGE}", None),
        ("GET", f"/videos/{HUGE}/frames/1.jpg", None),
        ("GET", f"/videos?cursor={HUGE}", None),
        ("GET", f"/videos/1/frames/{HUGE}.jpg?width={HUGE}", None),
        ("GET", f"/videos/1/clip.mp4?start={HUGE}&stop={HUGE + 1}", None),
        ("GET", "/videos/1/clip.mp4?start=1e400&stop=1e401", None),
        ("GET", "/videos?name=%00%ff[", None),
        ("GET", "/jobs/%00%ff", None),
    ],
)
def test_what_is_too_large_or_too_deep_is_the_callers(
    client: TestClient, method: str, path: str, body: dict[str, Any] | None
) -> None:
    content = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    answer = client.request(method, path, content=content, headers=headers)
    assert answer.status_code < 500, answer.text


def test_nesting_beyond_reading_is_the_callers(client: TestClient) -> None:
    deep = "[" * 50_000 + "]" * 50_000
    headers = {"Content-Type": "application/json"}
    for body in (f'{{"sql": "SELECT ?", "params": {deep}}}', f'{{"sql": {deep}}}'):
        answer = client.post("/sql", content=body.encode(), headers=headers)
        assert 400 <= answer.status_code < 500


@pytest.mark.parametrize(
    ("sql", "place"),
    [
        ("SELECT 'x'::INT", "SELECT 'x'::INT\n       ^"),
        ("SELECT name::INT FROM videos", "SELECT name::INT FROM videos\n       ^"),
        ("SELECT 'a' || 'b' || 'zz'::DATE", "\n                      ^"),
        ("SELECT regexp_matches('a', '(')", ""),
        ("SELECT 9223372036854775807 + 1", ""),
        ("SELECT strptime('a', '%Q')", ""),
        ("SELECT 'x'::JSON -> '$..'", ""),
        ("SELECT error('x')", ""),
        ("SELECT range(1000000000000)", ""),
        ("SELECT * FROM range(2000000)", ""),
        ("SELECT repeat('a', 300000000)", ""),
        ("SELECT -('-9223372036854775808'::BIGINT)", ""),
        ("SELECT substr(name, 'a') FROM videos", ""),
        ("SELECT date_trunc('x', now())", ""),
        ("SELECT make_date(2024, 13, 1)", ""),
        ("SELECT list_aggregate([1], 'x')", ""),
        ("SELECT (SELECT unnest([1, 2]))", ""),
    ],
)
def test_what_a_statement_cannot_compute_is_the_callers(
    client: TestClient, sql: str, place: str
) -> None:
    answer = client.post("/sql", json={"sql": sql})
    if answer.status_code != 200:
        assert answer.status_code == 400, answer.text
        found = Problem.model_validate(answer.json())
        assert found.detail
        assert place in (found.caret or "")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("no right to read s3://films/a/b/x.mp4: 403", "no right to read x.mp4: 403"),
        ("gs://b/x.mp4, 'az://c/d/a:b/y.mp4'", "x.mp4, 'y.mp4'"),
        ("no object s3://films/north/", "no object north/"),
        ("no bucket s3://films at http://minio:9000; look", None),
        ("https://media.example.com:8443/a/x.mp4 has changed", "x.mp4 has changed"),
        ("the model at https://h.example/api/v1 cannot be asked", None),
        ("error:/home/u/x.mp4, //home/u/y.mp4, file:///home/u/z.mp4", "error:x.mp4, y.mp4, z.mp4"),
    ],
)
def test_who_may_only_look_is_told_last_names(said: str, told: str | None) -> None:
    assert without_paths({"a": [said]}, "read") == {"a": [said if told is None else told]}
    assert without_paths(said, "write") == said
