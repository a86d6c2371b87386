"""What `/openapi.json` says beyond the routes themselves: every error with an example, our form."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from api.errors import MEDIA
from schemas import problem as schemas

_ANYWHERE = (400, 401, 403, 405, 408, 413, 429, 500, 502, 503)
_EXAMPLES = {
    400: "unknown strategy 'dens'; allowed: auto, dense, reusevit; nearest: dense",
    401: "no key; send Authorization: Bearer KEY",
    403: "this key has the role read; needed: write",
    404: "no video 7 among the 2 stored names",
    405: "PUT /videos; allowed: GET, HEAD, POST",
    408: "612 bytes of the body in 20 seconds",
    409: "'street.mp4' has no frames to show; its status is quarantined",
    413: "2097152 bytes; allowed: 1048576",
    416: "Requested range not satisfiable",
    422: "top_k is 0; allowed: at least 1",
    429: "100 jobs are waiting, the most allowed",
    500: "unforeseen error; the server's log has it under request_id",
    502: "s3://films at http://minio:9000 cannot be reached; look at AWS_ENDPOINT_URL",
    503: "4 queries are running, as many as are allowed",
}
_WHY = {
    400: "A statement or a value is not allowed, or is nothing that can be computed with",
    401: "No key, or one that is not known",
    403: "The key's role is not enough, a path lies outside the roots, or a foreign page asks",
    404: "No such video, job or file",
    405: "The path does not take this method; Allow names those that it does",
    408: "The request did not come to its end in time",
    409: "What is asked of cannot do that as it stands",
    413: "The body is longer than allowed",
    416: "The range lies outside of the file",
    422: "The request is not valid, or the video cannot be used",
    429: "Too many jobs wait, or the key has no more left; Retry-After says when to come back",
    500: "An error that nobody foresaw",
    502: "A video or a model elsewhere could not be asked for, or answered nothing of use",
    503: "Too much runs, or it ran too long; Retry-After says when to come back",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe errors that a route answers with, beside those that any route may."""
    return {status: _told(status) for status in statuses}


def _told(status: int) -> dict[str, Any]:
    example = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": _EXAMPLES[status],
        "instance": "/videos",
        "request_id": "5b1c0f8e2a7d4c3f9e6b1a2d3c4e5f60",
    }
    content = {MEDIA: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}}
    return {"description": _WHY[status], "content": content}


def describe(app: FastAPI) -> None:
    """Let the API's description show errors as they are, in the place of the framework's own."""
    document = app.openapi()
    named = document["components"]["schemas"]
    for stock in ("HTTPValidationError", "ValidationError"):
        named.pop(stock, None)
    own = schemas.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    named |= {**own.pop("$defs"), "Problem": own}
    for operations in document["paths"].values():
        for operation in operations.values():
            told = operation["responses"]
            for answer in told.values():
                if answer["description"] == "Successful Response":
                    answer["description"] = operation["description"].partition("\n")[0]
            always = (*_ANYWHERE, 422) if "422" in told else _ANYWHERE
            told |= {str(status): _told(status) for status in always}
            operation["responses"] = dict(sorted(told.items()))
