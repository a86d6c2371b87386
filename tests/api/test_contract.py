"""The API is what its description says: every status, form and field, for any request."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import create_app
from api.config import ServerSettings
from engine.session import Engine
from tests.api.conftest import Made, serving

EXAMPLES = 12  # of each operation
CHECKS = (
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    not_a_server_error,
)
OPERATIONS = [
    ("get", "/videos"), ("post", "/videos"), ("get", "/videos/{video_id}"),
    ("get", "/videos/named"), ("get", "/videos/ids"),
    ("post", "/videos/deepen"), ("post", "/videos/forecast"), ("post", "/videos/migrate"),
    ("delete", "/videos/{video_id}"), ("get", "/videos/{video_id}/frames/{seconds}.jpg"),
    ("get", "/videos/{video_id}/clip.mp4"), ("get", "/videos/{video_id}/curve"),
    ("get", "/videos/{video_id}/activity"), ("get", "/videos/{video_id}/sprite.jpg"),
    ("get", "/columns"), ("post", "/columns"), ("delete", "/columns/{name}"),
    ("post", "/query"), ("post", "/sql"), ("post", "/explain"),
    ("get", "/shard"), ("post", "/shard/sql"), ("post", "/shard/inquiries"),
    ("get", "/shard/inquiries/{name}/sample"), ("get", "/shard/inquiries/{name}/background"),
    ("post", "/shard/inquiries/{name}/find"), ("post", "/shard/inquiries/{name}/show"),
    ("delete", "/shard/inquiries/{name}"),
    ("post", "/ask"), ("post", "/ask/forecast"),
    ("post", "/transcripts/list"), ("post", "/transcripts/scan"),
    ("post", "/videos/{video_id}/transcripts"), ("post", "/videos/{video_id}/transcripts/remove"),
    ("get", "/jobs"), ("get", "/jobs/{job_id}"), ("delete", "/jobs/{job_id}"),
    ("post", "/jobs/{job_id}/retry"), ("get", "/jobs/{job_id}/events"),
    ("get", "/standing"), ("post", "/standing"), ("delete", "/standing/{name}"), ("get", "/alerts"),
    ("get", "/livez"), ("get", "/readyz"), ("get", "/me"), ("get", "/settings"),
    ("get", "/examples"),
    ("get", "/metrics"),
]  # fmt: skip


@pytest.fixture(scope="module")
def app(own_engine: Engine, made: Made) -> Any:
    """An application on a store of its own."""
    return create_app(own_engine, ServerSettings(video_roots=str(made.clips)))


@pytest.fixture(scope="module")
def described(app: Any) -> Iterator[Any]:
    """What the application says of itself, read from a real server by a tool that is not ours."""
    with serving(app, app.state.settings) as port:
        yield schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")


def test_every_operation_is_tried(app: Any) -> None:
    listed = [(m, path) for path, each in app.openapi()["paths"].items() for m in each]
    assert sorted(OPERATIONS) == sorted(listed)


@pytest.mark.filterwarnings("ignore")  # of the tool's own
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_whatever_is_asked_the_answer_is_as_described(
    app: Any, described: Any, method: str, path: str
) -> None:
    @given(case=described[path][method].as_strategy())
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def holds(case: Any) -> None:
        answer = case.call()
        case.validate_response(answer, checks=CHECKS)

    holds()


def _parts(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method} {path}", operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]


def test_every_field_parameter_and_answer_is_described(app: Any) -> None:
    document = app.openapi()
    bare = [name for name, each in _parts(document) if not each.get("description")]
    for name, schema in document["components"]["schemas"].items():
        assert schema.get("description"), name
        assert (
            schema.get("examples")
            or name in ("Fault", "Problem", "JobVideo", "VideoPage", "EstimateOut", "RunOut")
            or name
            in (
                "CardOut",
                "CheckedOut",
                "ScoresOut",
                "NullOut",
                "ModelOut",
                "IngestOut",
                "IndexOut",
            )
            or (
                name
                in ("StoreOut", "AnswerOut", "QueryOptions", "ColumnOut", "RowsOut", "PlanNodeOut")
            )
        ), name
    for name, operation in _parts(document):
        for status, told in operation["responses"].items():
            assert told["description"] not in ("", "Successful Response"), f"{name} {status}"
            for media, content in told.get("content", {}).items():
                assert "problem" not in media or content["example"]["status"] == int(status)
        assert {"400", "401", "403", "413", "500", "503"} <= set(operation["responses"])
        assert "default" not in operation["responses"]
    assert bare == []
