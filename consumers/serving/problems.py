"""Errors as RFC 9457 problem documents: what went wrong and what to do, and nothing of our innards."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse, Response

MEDIA_TYPE = "application/problem+json"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "Always about:blank: the status says what kind it is."},
        "title": {"type": "string", "description": "The status in words."},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What went wrong, and what to do."},
    },
    "additionalProperties": False,
}


class Problem(Exception):  # not an error of ours: an answer
    """An answer that says why there is none: ``detail`` names the thing, the value, and what to do."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


def answer(problem: Problem) -> Response:
    """Return the response that tells of ``problem``."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
    }
    headers = {"cache-control": "no-store", **problem.headers}
    return JSONResponse(body, status_code=problem.status, headers=headers, media_type=MEDIA_TYPE)


def busy(detail: str) -> Problem:
    """Return the problem of a part that is away or has no time: it may be asked again in a moment."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"retry-after": "2"})
