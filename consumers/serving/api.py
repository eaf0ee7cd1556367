"""The query API as HTTP: arguments, one look at the database, JSON with an ETag."""

import hashlib
import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from consumers.serving import books, devices, letters, openapi, orders, sketches, windows
from consumers.serving.database import Database
from consumers.serving.endpoints import Endpoint
from consumers.serving.look import Look, NotNow
from consumers.serving.problems import busy
from penstock.errors import Unavailable
from penstock.log import get_logger

ENDPOINTS: tuple[Endpoint, ...] = (
    *orders.ENDPOINTS, *devices.ENDPOINTS, *windows.ENDPOINTS, *sketches.ENDPOINTS,
    *letters.ENDPOINTS, *books.ENDPOINTS,
)  # fmt: skip


def api_routes(database: Database, endpoints: Sequence[Endpoint] = ENDPOINTS) -> list[Route]:
    """Return the routes of ``endpoints``, read from ``database``, and of their description."""
    described = _encode(openapi.describe(endpoints))

    async def description(request: Request) -> Response:
        return conditional(request, described, "application/json")

    routes = [Route(endpoint.path, _handler(endpoint, database), methods=["GET"]) for endpoint in endpoints]
    return [*routes, Route("/api/openapi.json", description, methods=["GET"])]


def _handler(endpoint: Endpoint, database: Database) -> Any:
    async def handle(request: Request) -> Response:
        query = request.query_params.multi_items()
        arguments = {**endpoint.arguments(request.path_params, query), "asked": dict(query)}

        def work(look: Look) -> bytes:
            return _encode(endpoint.read(look, arguments))

        try:
            body = await database.read(work)
        except NotNow as error:
            raise busy(str(error)) from None
        except Unavailable as error:
            get_logger("serve").warning("a request can't be answered", path=endpoint.path, why=str(error))
            raise busy("the database can't be read now; the server's log says why") from None
        return conditional(request, body, "application/json")

    return handle


def conditional(request: Request, body: bytes, media_type: str) -> Response:
    """Return ``body``, or 304 when the client names its ETag: then it has the same bytes."""
    etag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"etag": etag, "cache-control": "no-cache"}
    if matches(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, headers=headers, media_type=media_type)


def matches(condition: str, etag: str) -> bool:
    """Return whether an ``If-None-Match`` names ``etag`` (weakly, as RFC 9110 has it)."""
    named = [item.strip().removeprefix("W/") for item in condition.split(",")]
    return "*" in named or etag in named


def _encode(what: Any) -> bytes:
    return json.dumps(what, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
